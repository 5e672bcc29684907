/**
 * As much of a browser as the page of docs/getting-started.md needs, in a process of its own: `node browser-page.fixture.ts URL`
 * loads the page at URL, runs its script, prints the text of its `<output>` whenever that changes, and clicks its `<button>` for
 * every line on the standard input. Requests and sockets carry the page's origin, as a browser's do.
 */
import { createInterface } from "node:readline";
import { WebSocket } from "ws";

const pageUrl = new URL(process.argv[2]!);
const page = await (await fetch(pageUrl)).text();
const [, scriptPath] = /<script type="module" src="([^"]+)"><\/script>/.exec(page) ?? [];
if (scriptPath === undefined || !/<button>.*<\/button> <output>/.test(page)) throw new Error(`no such page: ${page}`);

const clicked: (() => void)[] = [];
const elements: Readonly<Record<string, object>> = {
  button: {
    addEventListener: (event: string, listener: () => void) => {
      if (event === "click") clicked.push(listener);
    },
  },
  output: {
    set textContent(text: string) {
      console.log(text);
    },
  },
};

class PageSocket extends WebSocket {
  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols, { origin: pageUrl.origin });
    // Where nobody listens for errors, a browser's socket is silent; `ws` would end the process.
    this.on("error", ({ message }) => console.error(`socket: ${message}`));
  }
}

const { fetch: plainFetch } = globalThis;
Object.assign(globalThis, {
  location: pageUrl,
  document: { querySelector: (name: string) => elements[name] ?? null },
  WebSocket: PageSocket,
  fetch: (url: string | URL | Request, options: RequestInit = {}) => {
    const headers = new Headers(options.headers);
    if (options.method !== undefined && options.method !== "GET") headers.set("origin", pageUrl.origin);
    return plainFetch(url, { ...options, headers });
  },
});

createInterface({ input: process.stdin }).on("line", () => {
  for (const listener of clicked) listener();
});

const script = await (await plainFetch(new URL(scriptPath, pageUrl))).text();
await import(`data:text/javascript;base64,${Buffer.from(script).toString("base64")}`);
