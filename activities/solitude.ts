/**
 * Who is in flight in this process. Pages share it; a page suspected of killing its worker takes it
 * alone, so that the next crash tells whose doing it is.
 */
export class Solitude {
  #sharing = 0;
  #alone = false;
  #waiting: { alone: boolean; enter: () => void }[] = [];

  async enter<T>(alone: boolean, work: () => Promise<T>): Promise<T> {
    await this.#admitted(alone);
    try {
      return await work();
    } finally {
      if (alone) this.#alone = false;
      else this.#sharing--;
      this.#admitNext();
    }
  }

  #admitted(alone: boolean): Promise<void> {
    return new Promise((enter) => {
      this.#waiting.push({ alone, enter });
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
      next.enter();
    }
  }

  #hasRoomFor(alone: boolean): boolean {
    return !this.#alone && (!alone || this.#sharing === 0);
  }
}
