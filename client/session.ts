import { createHash, randomBytes } from "node:crypto";
import type { ApiKeyRow } from "../db/api-keys.ts";
import { deleteSession, findSessionKey, insertSession } from "../db/sessions.ts";
import { asking, type Context } from "./context.ts";
import { keyClient } from "./key.ts";

/** How long a session lasts, whatever is done in it. */
export const SESSION_MS = 12 * 60 * 60 * 1_000;
/** Open sessions of one key; beginning another ends the oldest. */
const MOST_OF_A_KEY = 100;

/**
 * Sessions of people at the console. They are rows, so every server knows them and a restart ends
 * none; the key behind one is looked at with every question, so a revoked key ends its sessions at once.
 */
export interface SessionClient {
  /** Begins a session with a presented API key and answers its token, once. @throws Unauthorized */
  begin(secret: string): Promise<{ token: string; key: ApiKeyRow }>;
  /** The key behind a token; undefined when its session has ended or its key is revoked. */
  find(token: string): Promise<ApiKeyRow | undefined>;
  /** Ends it for good; it need not be open. */
  end(token: string): Promise<void>;
}

export function sessionClient(context: Context): SessionClient {
  const { db } = context;
  const keys = keyClient(context);
  return {
    async begin(secret) {
      const key = await keys.verify(secret);
      const token = randomBytes(32).toString("base64url");
      await asking(() =>
        insertSession(db, {
          hash: hashOf(token),
          keyId: key.id,
          lastsMs: SESSION_MS,
          most: MOST_OF_A_KEY,
        }),
      );
      return { token, key };
    },
    find: (token) => asking(() => findSessionKey(db, hashOf(token))),
    end: (token) => asking(() => deleteSession(db, hashOf(token))),
  };
}

function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
