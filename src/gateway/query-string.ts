/**
 * The query part of a URL, strictly: every name is known and given once, every escape is valid UTF-8. A misspelt
 * parameter that is silently ignored would answer another question than the one that was asked.
 */
import { OnefoldError } from "../base/errors.ts";

/**
 * Parses `a=1&b=2`; `+` stands for a space, as forms and `URLSearchParams` write it. Throws `malformed` (retry `never`)
 * for a bad escape, an unknown name or a repeated one.
 */
export function parseQueryString<Name extends string>(
  text: string,
  allowed: readonly Name[],
): { readonly [name in Name]?: string } {
  const values: { [name in Name]?: string } = {};
  if (text === "") return values;
  for (const part of text.split("&")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const name = decode(equals === -1 ? part : part.slice(0, equals));
    const known = allowed.find((candidate) => candidate === name);
    if (known === undefined) {
      const hint = allowed.length === 0 ? "This route takes none." : `Known here: ${allowed.join(", ")}.`;
      throw new OnefoldError("malformed", `There is no query parameter ${JSON.stringify(name)}. ${hint}`);
    }
    if (values[known] !== undefined) {
      throw new OnefoldError("malformed", `The query parameter ${known} is given more than once.`);
    }
    values[known] = equals === -1 ? "" : decode(part.slice(equals + 1));
  }
  return values;
}

function decode(text: string): string {
  const spaced = text.replaceAll("+", " ");
  if (!spaced.includes("%")) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch (cause) {
    throw new OnefoldError("malformed", "The query holds a percent escape that is not UTF-8.", { cause });
  }
}

/** A whole number in decimal digits between the bounds, or the default where it is absent. Throws `malformed`. */
export function parseCount(
  name: string,
  text: string | undefined,
  bounds: { readonly min: number; readonly max: number; readonly absent: number },
): number {
  if (text === undefined) return bounds.absent;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= bounds.min && value <= bounds.max) return value;
  throw new OnefoldError("malformed", `${name} must be a whole number from ${bounds.min} to ${bounds.max}.`);
}
