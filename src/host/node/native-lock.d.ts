/** What is used of `fs-native-extensions`, which brings no types of its own. */
declare module "fs-native-extensions" {
  /** True if the lock was granted; false if another open file holds it. Length 0: to the file's end. */
  export function tryLock(descriptor: number, offset?: number, length?: number): boolean;
  export function unlock(descriptor: number, offset?: number, length?: number): void;
}
