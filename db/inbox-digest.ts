import { createHash } from "node:crypto";
import type { InboxChunk, Message } from "./inbox.ts";

/** What a message said, as 32 bytes: by what is stored of it, however it was written down and cut. */
export interface MessageDigest {
  add(chunk: InboxChunk): void;
  end(): Buffer;
}

/** Of a message that says, beside its entities, this. */
export function createMessageDigest({ namedBranch, snapshot }: Message): MessageDigest {
  // Chunks end anywhere, so what is taken and what is not are hashed apart.
  const [taken, rejected] = [createHash("sha256"), createHash("sha256")];
  taken.update(`${JSON.stringify([namedBranch ?? null, snapshot ?? null])}\n`);
  return {
    add({ entries, rejects = [] }) {
      let text = "";
      for (const { hash, branch, sourceTime } of entries) {
        text +=
          branch === undefined && sourceTime === undefined
            ? hash
            : `${hash}${JSON.stringify([branch, sourceTime])}`;
        text += "\n";
      }
      taken.update(text);
      for (const { no, raw } of rejects) {
        rejected.update(`${no} ${raw?.length ?? ""}\n`);
        if (raw) rejected.update(raw);
      }
    },
    end: () => createHash("sha256").update(taken.digest()).update(rejected.digest()).digest(),
  };
}
