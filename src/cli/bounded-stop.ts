/**
 * A stop that comes to an end. A node that can't learn what became of its last append, because its engine is gone, waits for that; what nobody
 * knows was not acknowledged, so a process that ends before it knows loses nothing that a crash would not.
 */

/** Resolves as `ending` does; after `withinMs` calls `giveUp`, which ends the process, and waits on. */
export async function boundedStop(
  ending: Promise<void>,
  { withinMs, giveUp }: { readonly withinMs: number; readonly giveUp: () => void },
): Promise<void> {
  const timer = setTimeout(giveUp, withinMs);
  try {
    await ending;
  } finally {
    clearTimeout(timer);
  }
}
