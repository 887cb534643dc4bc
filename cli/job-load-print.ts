import type { LoadReport } from "./job-load.ts";
import { printTable, say, text } from "./output.ts";

export async function printLoad(report: LoadReport): Promise<void> {
  const { batch, concurrency, errors, moreErrors, contention, ok, total } = report;
  say(text(`${report.host}, job ${report.job}: posts of ${batch} results, ${concurrency} at once`));
  await printTable(
    ["ROUND", "OK", "P50", "P95", "ELAPSED"],
    report.rounds.map((round, no) => [
      no + 1,
      `${round.ok}/${round.total}`,
      ms(round.p50Ms),
      ms(round.p95Ms),
      ms(round.elapsedMs),
    ]),
  );
  say("p50 and p95 are nearest rank: values that were seen, failed posts included");
  for (const { reason, times } of errors) say(text(`failed ${times} x: ${reason}`));
  if (moreErrors > 0) say(`failed ${moreErrors} x: of other kinds`);
  if (contention === null) {
    say("sessions of the database were not looked at: set DATABASE_URL");
  } else {
    const { depth, waiting, idleInTransactionMs, looks } = contention;
    say(
      `in ${looks} looks: lock chain ${depth} deep, ${waiting} waiting at once, idle in transaction ${idleInTransactionMs} ms`,
    );
  }
  const percent = `${Math.floor(report.successPercent * 10) / 10} %`;
  const short = report.successPercent < report.minSuccess;
  say(
    `${ok} of ${total} posts succeeded (${percent}${short ? `, below ${report.minSuccess} %` : ""})`,
  );
}

function ms(value: number): string {
  return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ms`;
}
