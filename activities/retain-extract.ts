import { createHash } from "node:crypto";
import type { Chunk, Extractor, Validation, Validator, WorkContext } from "../contracts/plugins.ts";
import { RetainItem } from "../contracts/retain.ts";
import type { NewFact } from "../db/parts.ts";

/** What plug-ins do for one item: validate, then extract chunk by chunk, in bounded time. */

export interface PlugIns {
  validator?: Validator | undefined;
  extractor: Extractor;
  extractTimeoutMs: number;
}

/** `name@version/chunkSize`: derived rows made by the same maker from the same text are the same. */
export function makerOf(extractor: Extractor, chunkSize: number): string {
  return `${extractor.name}@${extractor.version}/${chunkSize}`;
}

export function contentDigest(content: string): Buffer {
  return createHash("sha256").update(content).digest();
}

/** The item as the validator leaves it, or why it refuses. */
export async function validated(
  { validator }: PlugIns,
  item: RetainItem,
  context: WorkContext,
): Promise<{ item: RetainItem } | { refused: string }> {
  if (!validator) return { item };
  const answer: Validation = await validator.validate(item, context);
  if (answer.verdict === "refuse") return { refused: answer.reason };
  return { item: answer.verdict === "rewrite" ? RetainItem.parse(answer.item) : item };
}

/** Facts of some chunks of one item. Throws what the extractor throws, or a timeout. */
export async function extractFacts(
  plugIns: PlugIns,
  chunks: readonly Chunk[],
  item: RetainItem,
  context: WorkContext,
): Promise<NewFact[]> {
  const { content: _, ...about } = item;
  const facts: NewFact[] = [];
  for (const chunk of chunks) {
    context.signal.throwIfAborted();
    const found = await inTime(plugIns.extractTimeoutMs, context, (bounded) =>
      plugIns.extractor.extract(chunk, about, bounded),
    );
    if (found.length > MAX_FACTS_PER_CHUNK) {
      throw new Error(
        `the extractor answered ${found.length} facts for one chunk, at most ${MAX_FACTS_PER_CHUNK} are kept`,
      );
    }
    found.forEach((fact, ordinal) => {
      if (fact.text.length > MAX_FACT_LENGTH) {
        throw new Error(
          `the extractor answered a fact of ${fact.text.length} characters, at most ${MAX_FACT_LENGTH} are kept`,
        );
      }
      facts.push({ ...fact, chunkNo: chunk.no, ordinal });
    });
  }
  return facts;
}

const MAX_FACTS_PER_CHUNK = 2_000;
const MAX_FACT_LENGTH = 100_000;

// A plug-in that waits is bounded from outside; one that computes at once pays for no timer.
async function inTime<T>(
  timeoutMs: number,
  context: WorkContext,
  work: (context: WorkContext) => T | Promise<T>,
): Promise<T> {
  const timeout = new AbortController();
  const signal = AbortSignal.any([context.signal, timeout.signal]);
  const answer = work({ ...context, signal });
  if (!(answer instanceof Promise)) return answer;
  const late = new Error(`the extractor did not answer within ${timeoutMs} ms`);
  const timer = setTimeout(() => timeout.abort(late), timeoutMs);
  let onAbort: (() => void) | undefined;
  const ended = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([answer, ended]);
  } finally {
    clearTimeout(timer);
    if (onAbort) signal.removeEventListener("abort", onAbort);
    // The race is decided; what the loser says later is nobody's business.
    answer.catch(() => undefined);
  }
}
