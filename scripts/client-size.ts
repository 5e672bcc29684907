/** `node --import tsx scripts/client-size.ts`: how large `onefold/client` is in a browser's bundle, and what is in it. */
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

export interface ClientSize {
  readonly rawBytes: number;
  readonly gzipBytes: number;
  /** Source files in the bundle, with the bytes that each takes. */
  readonly files: ReadonlyMap<string, number>;
  readonly text: string;
}

/** Bundles and minifies a page's worth of client: `connect`, the errors, and all that they need. */
export async function measureClient(): Promise<ClientSize> {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    stdin: {
      contents: `export { connect, OnefoldError, Refused } from "./src/client/browser.ts";`,
      resolveDir: root,
      loader: "ts",
    },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
  });
  const [output] = Object.values(metafile.outputs);
  const files = Object.entries(output!.inputs).map(([path, { bytesInOutput }]): [string, number] => [
    path,
    bytesInOutput,
  ]);
  const { contents, text } = outputFiles[0]!;
  return { rawBytes: contents.length, gzipBytes: gzipSync(contents, { level: 9 }).length, files: new Map(files), text };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { rawBytes, gzipBytes, files } = await measureClient();
  for (const [path, bytes] of [...files].sort((a, b) => b[1] - a[1])) console.log(String(bytes).padStart(7), path);
  console.log(`onefold/client: ${rawBytes} bytes minified, ${gzipBytes} compressed`);
}
