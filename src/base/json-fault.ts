/**
 * Finds where a text stops being JSON (RFC 8259). The platform's parser tells that only in some of its messages, whose
 * wording is nobody's promise. Runs only for text that the parser has refused, in one pass, recursing nowhere.
 */

/**
 * The position (in UTF-16 units) of the first token, or the character within a string, that JSON does not allow; the text's
 * length where it ends too early. Undefined for text that is JSON.
 */
export function positionOfJsonFault(text: string): number | undefined {
  /** The open brackets around the place. */
  const open: ("{" | "[")[] = [];
  /** What may come next. `first` states also allow the bracket to close at once. */
  let state: "value" | "first value" | "key" | "first key" | "colon" | "rest" = "value";
  let at = skipSpace(text, 0);
  for (; at < text.length; at = skipSpace(text, at)) {
    const character = text[at]!;
    if (state === "rest") {
      const inside = open.at(-1);
      if (inside === undefined) return at;
      if (character === ",") state = inside === "{" ? "key" : "value";
      else if (character === (inside === "{" ? "}" : "]")) open.pop();
      else return at;
      at++;
    } else if (state === "colon") {
      if (character !== ":") return at;
      state = "value";
      at++;
    } else if ((state === "first key" && character === "}") || (state === "first value" && character === "]")) {
      open.pop();
      state = "rest";
      at++;
    } else if (state === "key" || state === "first key") {
      if (character !== '"') return at;
      const end = endOfString(text, at);
      if (end.fault) return end.at;
      at = end.at;
      state = "colon";
    } else if (character === "{" || character === "[") {
      open.push(character);
      state = character === "{" ? "first key" : "first value";
      at++;
    } else {
      const end = endOfScalar(text, at);
      if (end.fault) return end.at;
      at = end.at;
      state = "rest";
    }
  }
  return state === "rest" && open.length === 0 ? undefined : text.length;
}

/** Where a token ends, or where it goes wrong. */
interface End {
  readonly at: number;
  readonly fault: boolean;
}

const scalarPattern = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y;

function endOfScalar(text: string, start: number): End {
  if (text[start] === '"') return endOfString(text, start);
  scalarPattern.lastIndex = start;
  return scalarPattern.test(text) ? { at: scalarPattern.lastIndex, fault: false } : { at: start, fault: true };
}

function endOfString(text: string, start: number): End {
  for (let at = start + 1; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x22) return { at: at + 1, fault: false };
    if (unit < 0x20) return { at, fault: true };
    if (unit !== 0x5c) continue;
    at++;
    if (text[at] === "u") {
      if (!/^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5))) return { at: Math.min(at, text.length), fault: true };
      at += 4;
    } else if (at < text.length && !'"\\/bfnrt'.includes(text[at]!)) return { at, fault: true };
  }
  return { at: text.length, fault: true };
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && " \t\n\r".includes(text[at]!)) at++;
  return at;
}
