import type { Command } from "commander";
import type { Examination, Finding } from "../workers/doctor.ts";
import { plugins, settings } from "./connection.ts";
import { examples, JSON_FLAG } from "./declare.ts";
import { Ended, EXIT } from "./failure.ts";
import { moment, note, paint, printJson, say, text } from "./output.ts";

export function register(program: Command): void {
  const doctor = program
    .command("doctor")
    .description("find, explain and repair disagreement between rows, ledger and workflows")
    .option("--repair", "mend what can be mended without a person")
    .option(...JSON_FLAG);
  examples(doctor, "holdfast doctor", "holdfast doctor --repair", "holdfast doctor --json").action(
    async ({ repair, json }: { repair?: boolean; json?: boolean }) => {
      const examination = await look(repair === true);
      if (json) printJson(summary(examination));
      else print(examination, repair === true);
      if (examination.findings.some((finding) => finding.left)) throw new Ended(EXIT.failed);
    },
  );
}

async function look(repair: boolean): Promise<Examination> {
  const [at, config] = await Promise.all([settings(), plugins()]);
  const { runDoctor } = await import("../workers/doctor.ts");
  return runDoctor({
    databaseUrl: at.DATABASE_URL,
    schema: at.HOLDFAST_SCHEMA,
    temporal: { address: at.TEMPORAL_ADDRESS, namespace: at.TEMPORAL_NAMESPACE },
    repair,
    config,
    limits: {
      maxRunning: at.HOLDFAST_MAX_RUNNING,
      maxRunningPerScope: at.HOLDFAST_MAX_RUNNING_PER_SCOPE,
    },
  });
}

function summary({ findings, checks }: Examination) {
  return { healthy: findings.every(({ left }) => !left), findings, checks };
}

function print({ findings, checks }: Examination, repaired: boolean): void {
  for (const finding of findings) printFinding(finding);
  const notDone = checks.filter((check) => check.notDone !== undefined);
  for (const why of new Set(notDone.map((check) => check.notDone))) {
    const names = notDone.filter((check) => check.notDone === why).map(({ name }) => name);
    note(`not done: ${names.join(", ")}: ${text(why)}`);
  }

  const left = findings.filter((finding) => finding.left);
  const done = `${checks.length - notDone.length} of ${checks.length} checks done`;
  if (findings.length === 0) return say(`${paint("green", "nothing found")}, ${done}`);
  const mended = findings.length - left.length;
  say(`${findings.length} found, ${mended} repaired, ${left.length} left; ${done}`);
  if (!repaired && left.some(({ repair }) => repair !== null)) {
    note('"holdfast doctor --repair" does what stands after "repair"');
  }
}

function printFinding(finding: Finding): void {
  const { check, subject, message, since, left, repair, did } = finding;
  say(`${paint(left ? "red" : "green", left ? check : `${check}, repaired`)}  ${text(subject)}`);
  say(`  ${text(message)}`);
  say(paint("dim", `  since   ${moment(since.toISOString())}`));
  if (did !== undefined) say(paint("dim", `  did     ${text(did)}`));
  else say(paint("dim", `  repair  ${repair === null ? "by a person" : text(repair)}`));
}
