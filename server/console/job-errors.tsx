import type { JobView } from "../../contracts/job.ts";
import { number } from "./format.ts";
import { itemsAddress } from "./job-pace.tsx";

/** Reasons in the words of workers, a bounded number, and where all the items stand. */
export function JobErrors({ job }: { job: JobView }) {
  const { errors } = job.progress;
  const counts = (["failed", "lost"] as const).map(
    (outcome) => [outcome, job.counts[outcome] ?? 0] as const,
  );
  return (
    <>
      <h2>Errors</h2>
      {errors.length === 0 ? (
        <p class="faint">
          {counts.some(([, n]) => n > 0)
            ? "No reason was given."
            : "No item has failed or was lost."}
        </p>
      ) : (
        errors.map((line) => <p class="why">{line}</p>)
      )}
      <p class="jumps">
        {counts
          .filter(([, n]) => n > 0)
          .map(([outcome, n]) => (
            <a href={itemsAddress(job.id, outcome)}>
              all {number(n)} {outcome}
            </a>
          ))}
        {(job.counts.failed ?? 0) > 0 && (
          <a href={`/jobs/${job.id}/results?show=errors`}>what workers answered for them</a>
        )}
      </p>
    </>
  );
}
