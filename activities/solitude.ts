/**
 * Who is in flight in this process. Pages share it; a page suspected of killing its worker takes it
 * alone, so that the next crash tells whose doing it is.
 */
export class Solitude {
  readonly #aloneWithinMs: number | undefined;
  #sharing = 0;
  #alone = false;
  #waiting: Waiting[] = [];

  /** `aloneWithinMs`: who has waited so long to be alone shares like everybody. Absent: waits on. */
  constructor(aloneWithinMs?: number) {
    this.#aloneWithinMs = aloneWithinMs;
  }

  /** @throws the reason of `signal`, which ends the wait and nothing that has begun */
  async enter<T>(alone: boolean, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const isAlone = await this.#admitted(alone, signal);
    try {
      return await work();
    } finally {
      if (isAlone) this.#alone = false;
      else this.#sharing--;
      this.#admitNext();
    }
  }

  /** Whether it was let in alone. */
  #admitted(alone: boolean, signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      let timer: NodeJS.Timeout | undefined;
      const leave = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      };
      const waiting: Waiting = {
        alone,
        enter: (isAlone) => {
          leave();
          resolve(isAlone);
        },
      };
      const abort = () => {
        leave();
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        reject(signal!.reason);
        this.#admitNext();
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.push(waiting);
      if (alone && this.#aloneWithinMs !== undefined) {
        timer = setTimeout(() => {
          waiting.alone = false;
          this.#admitNext();
        }, this.#aloneWithinMs);
      }
      this.#admitNext();
    });
  }

  // In order of arrival, so that a suspect is not overtaken for ever.
  #admitNext(): void {
    for (
      let next = this.#waiting[0];
      next && this.#hasRoomFor(next.alone);
      next = this.#waiting[0]
    ) {
      this.#waiting.shift();
      if (next.alone) this.#alone = true;
      else this.#sharing++;
      next.enter(next.alone);
    }
  }

  #hasRoomFor(alone: boolean): boolean {
    return !this.#alone && (!alone || this.#sharing === 0);
  }
}

interface Waiting {
  alone: boolean;
  enter(isAlone: boolean): void;
}
