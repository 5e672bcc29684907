/**
 * Where a system is served: one address, or those of several nodes of a cluster, any of which answers any call. One is used until it fails;
 * then the next.
 */
export class Addresses {
  readonly #urls: readonly URL[];
  #index: number;

  /** Begins with a random one, so that many clients spread over the nodes. Throws `TypeError` for what is no URL of HTTP, and for none. */
  constructor(given: string | URL | readonly (string | URL)[], random: () => number) {
    const list = typeof given === "string" || given instanceof URL ? [given] : given;
    this.#urls = list.map((each) => {
      const url = new URL(each);
      if (url.protocol !== "http:" && url.protocol !== "https:") throw new TypeError(`not a URL of HTTP: ${url.href}`);
      return url;
    });
    if (this.#urls.length === 0) throw new TypeError("no address is given");
    this.#index = Math.floor(random() * this.#urls.length);
  }

  get count(): number {
    return this.#urls.length;
  }

  get current(): URL {
    return this.#urls[this.#index]!;
  }

  /** `url` does not serve just now: the next one is taken, unless that has happened already. */
  leave(url: URL): void {
    if (url === this.current) this.#index = (this.#index + 1) % this.#urls.length;
  }
}
