/**
 * A running hash of a trace, to compare two runs by: FNV-1a (Fowler, Noll, Vo) in two lanes of 32 bits with different
 * multipliers. Cheap, and no defence against anyone who wants a collision.
 */
const numbers = new Float64Array(1);
const words = new Uint32Array(numbers.buffer);

export class TraceHash {
  #low = 0x811c9dc5;
  #high = 0xcbf29ce4;

  #add(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193);
    this.#high = Math.imul(this.#high ^ value ^ (this.#high >>> 15), 0x85ebca6b);
  }

  addNumber(value: number): void {
    numbers[0] = value;
    this.#add(words[0]!);
    this.#add(words[1]!);
  }

  addText(text: string): void {
    for (let i = 0; i < text.length; i++) this.#add(text.charCodeAt(i));
    this.#add(0x10000 + text.length);
  }

  /** 16 hexadecimal digits. */
  digest(): string {
    return [this.#high, this.#low].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
