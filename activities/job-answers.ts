import { PostedResult, type ClaimedItem } from "../contracts/job.ts";
import type { ProcessedItem } from "../contracts/plugins.ts";
import { kept } from "../contracts/text.ts";

/**
 * What a processor said of a batch, as it is posted: one result an item. An answer that breaks a limit
 * is an error of its item, and so is a missing one.
 * @throws when it is no list, or speaks of an item that is not of the batch or of one twice: then
 * nothing of it can be believed
 */
export function answersOf(
  handle: string,
  items: readonly ClaimedItem[],
  answer: unknown,
): PostedResult[] {
  if (!Array.isArray(answer)) {
    throw new Error(`the processor answered ${kindOf(answer)}: return a list, one entry an item`);
  }
  const byItem = new Map<number, PostedResult>();
  const asked = new Set(items.map(({ item }) => item));
  for (const entry of answer as readonly (ProcessedItem | null)[]) {
    const item = entry?.item;
    if (typeof item !== "number" || !asked.has(item)) {
      throw new Error(
        `the processor answered of item ${String(item)}, which is not of its batch: repeat \`item\` as it was given`,
      );
    }
    if (byItem.has(item)) throw new Error(`the processor answered of item ${item} twice`);
    byItem.set(item, postedOf(handle, { ...entry!, item }));
  }
  return items.map(
    ({ item }) =>
      byItem.get(item) ?? { handle, item, error: "the processor did not answer of this item" },
  );
}

function postedOf(handle: string, entry: ProcessedItem): PostedResult {
  const { item } = entry;
  let parsed: ReturnType<typeof PostedResult.safeParse>;
  try {
    parsed = PostedResult.safeParse({ ...entry, handle });
  } catch (error) {
    // A value that has no JSON: a bigint, or one that holds itself.
    return { handle, item, error: errorText(`the processor's answer is refused: ${said(error)}`) };
  }
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  return {
    handle,
    item,
    error: errorText(`the processor's answer is refused: ${issues.slice(0, 3).join("; ")}`),
  };
}

const MOST_BYTES = 2_000;

/** What was thrown, as the error of an item: never blank, storable, and within the limit. */
export function errorText(thrown: unknown): string {
  const text = kept(said(thrown)).trim() || "the processor failed without a message";
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= MOST_BYTES) return bytes.toString("utf8");
  // A character that the cut went through is left out.
  return bytes
    .subarray(0, MOST_BYTES)
    .toString("utf8")
    .replace(/\uFFFD+$/, "");
}

function said(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function kindOf(answer: unknown): string {
  if (answer === undefined) return "nothing";
  return answer === null ? "null" : `a ${typeof answer}`;
}
