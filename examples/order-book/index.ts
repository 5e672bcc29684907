export { exchange } from "./order-book.ts";
