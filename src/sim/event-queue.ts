/**
 * Events ordered by (time, order of scheduling): a binary heap. Cancelled events stay in it, without their callback, until
 * they come to its top.
 */

export interface ScheduledEvent {
  readonly timeMs: number;
  /** Grows by one with every event; breaks ties. */
  readonly order: number;
  readonly callback: () => void;
}

const nothing = () => undefined;

class QueuedEvent implements ScheduledEvent {
  readonly timeMs: number;
  readonly order: number;
  callback: () => void;
  state: "waiting" | "done" = "waiting";
  readonly #queue: EventQueue;

  constructor(queue: EventQueue, timeMs: number, order: number, callback: () => void) {
    this.#queue = queue;
    this.timeMs = timeMs;
    this.order = order;
    this.callback = callback;
  }

  cancel(): void {
    if (this.state === "done") return;
    this.state = "done";
    this.callback = nothing;
    this.#queue.forget();
  }
}

function isBefore(a: ScheduledEvent, b: ScheduledEvent): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.order < b.order);
}

export class EventQueue {
  readonly #heap: QueuedEvent[] = [];
  #nextOrder = 0;
  #size = 0;

  /** Events that are neither popped nor cancelled. */
  get size(): number {
    return this.#size;
  }

  push(timeMs: number, callback: () => void): { cancel(): void } {
    const event = new QueuedEvent(this, timeMs, this.#nextOrder++, callback);
    const heap = this.#heap;
    let index = heap.length;
    while (index > 0) {
      const parentIndex = (index - 1) >>> 1;
      const parent = heap[parentIndex]!;
      if (isBefore(parent, event)) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = event;
    this.#size++;
    return event;
  }

  /** The next event, which stays queued. */
  peek(): ScheduledEvent | undefined {
    while (this.#heap[0]?.state === "done") this.#removeTop();
    return this.#heap[0];
  }

  pop(): ScheduledEvent | undefined {
    if (this.peek() === undefined) return undefined;
    const event = this.#removeTop();
    event.state = "done";
    this.#size--;
    return event;
  }

  /** A waiting event has cancelled itself. */
  forget(): void {
    this.#size--;
  }

  #removeTop(): QueuedEvent {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    let index = 0;
    for (;;) {
      let childIndex = 2 * index + 1;
      if (childIndex >= heap.length) break;
      if (childIndex + 1 < heap.length && isBefore(heap[childIndex + 1]!, heap[childIndex]!)) childIndex++;
      const child = heap[childIndex]!;
      if (isBefore(last, child)) break;
      heap[index] = child;
      index = childIndex;
    }
    heap[index] = last;
    return top;
  }
}
