import type { PostAnswer } from "../contracts/job.ts";
import type { LogLine } from "../contracts/operation.ts";
import type { SettledResult } from "../contracts/plugins.ts";

/** What the log of a job says of posts. */

export interface PostLine {
  operationId: string;
  level: LogLine["level"];
  message: string;
  fields: Record<string, unknown>;
}

/** Failed items of one post that get a line of their own. */
const MOST_ERROR_LINES = 20;

/** Lines of a post: one for the batches it ended, and one for each failed item, bounded. */
export function linesOfPost(post: {
  job: string;
  key: string;
  answer: PostAnswer;
  settled: readonly SettledResult[];
  closed: number;
}): PostLine[] {
  const { job: operationId, key, answer, settled, closed } = post;
  const failed = settled.filter((result) => result.error !== undefined);
  const lines: PostLine[] = failed.slice(0, MOST_ERROR_LINES).map(({ item, error }) => ({
    operationId,
    level: "error",
    message: `item ${item} failed: ${error}`,
    fields: { item, key },
  }));
  const untold = failed.length - lines.length;
  if (untold > 0) {
    const message = `${untold} more items of the same post failed`;
    lines.push({ operationId, level: "error", message, fields: { key } });
  }
  if (closed > 0) {
    const { accepted: _, results: __, ...others } = answer;
    const batches = closed === 1 ? "a batch is" : `${closed} batches are`;
    lines.push({
      operationId,
      level: "info",
      message: `${batches} done: ${settled.length} settled, ${failed.length} failed`,
      fields: { key, settled: settled.length, failed: failed.length, ...others },
    });
  }
  return lines;
}
