import { median, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { documents } from "./prose.ts";
import { handWritten } from "./retain-by-hand.ts";
import { until } from "../dev/until.ts";
import { openScene, type Scene } from "./scene.ts";

export const DOCUMENT_SIZE = 11_600;

/**
 * Documents a second from submit to the last outcome, beside the loop that writes the same rows. The
 * loop makes no observations, so the ratio is taken with consolidation held back; then with all on.
 */
export async function measureThroughput(frame: Frame): Promise<void> {
  const scene = await openScene(frame);
  const { databaseUrl } = scene;
  await scene.startWorker();
  const rival = await handWritten(databaseUrl);
  frame.atEnd(() => rival.close());

  const contents = documents(frame.quick ? 300 : 2_000, DOCUMENT_SIZE);
  const named = contents.map((content, index) => ({ id: `document-${index}`, content }));
  const perSecond = async (work: () => Promise<unknown>) =>
    (contents.length * 1_000) / (await timed(work));
  const facts = { ours: 0, byHand: 0 };

  const ours = (bank: string) =>
    perSecond(async () => scene.completed(await scene.submit(bank, contents)));
  const whole = async (round: number) => {
    await holdConsolidation(scene, false);
    const rate = await ours(`whole-${round}`);
    await forgetConsolidation(scene);
    return rate;
  };
  const same = async (round: number) => {
    await holdConsolidation(scene, true);
    const rate = await ours(`same-${round}`);
    facts.ours = await countFacts(scene, `same-${round}`);
    await forgetConsolidation(scene);
    return rate;
  };
  const byHand = (round: number) =>
    perSecond(async () => {
      facts.byHand = await rival.retain(round, named);
    });

  const seen = await inTurn(frame.quick ? 1 : 5, { whole, byHand, same });
  if (facts.ours !== facts.byHand) {
    throw new Error(`not the same work: ${facts.ours} facts here, ${facts.byHand} by hand`);
  }
  const what = "documents of 11.6 KB, one worker";
  frame.measure(`end to end, ${what}`, median(seen.whole), "documents/s", { atLeast: 100 });
  frame.measure("the same without consolidation", median(seen.same), "documents/s");
  frame.measure("hand-written loop, the same rows", median(seen.byHand), "documents/s");
  const share = 100 * ratio(seen.same, seen.byHand);
  frame.measure("of the hand-written loop, the same rows", share, "%", { atLeast: 50 });
  const wholeShare = 100 * ratio(seen.whole, seen.byHand);
  frame.measure("of the hand-written loop, with consolidation", wholeShare, "%");
  await frame.close();
}

async function holdConsolidation({ holdfast }: Scene, held: boolean): Promise<void> {
  await holdfast.db.query(
    `update holdfast.drains set wake_at = case when $1 then 'infinity' else clock_timestamp() end
      where queue = 'consolidate'`,
    [held],
  );
}

// What one batch left to consolidate must not weigh on who comes next, and waiting for it is long.
async function forgetConsolidation(scene: Scene): Promise<void> {
  await holdConsolidation(scene, true);
  await scene.holdfast.db.query("delete from holdfast.marks");
  const isAtWork = `select from pg_stat_activity where application_name = 'holdfast-worker'
    and state <> 'idle' and datname = current_database()`;
  let quietLooks = 0;
  const isQuiet = async () => {
    const { rowCount } = await scene.holdfast.db.query(isAtWork);
    quietLooks = rowCount === 0 ? quietLooks + 1 : 0;
    return quietLooks === QUIET_LOOKS;
  };
  await until(isQuiet, 120_000, () => "the worker did not come to rest", LOOK_MS);
}

const LOOK_MS = 100;
const QUIET_LOOKS = 10;

async function countFacts({ holdfast }: Scene, bank: string): Promise<number> {
  const { rows } = await holdfast.db.query<{ facts: number }>(
    `select count(*)::int as facts from holdfast.facts f join holdfast.banks b on b.id = f.bank_id
      where b.name = $1`,
    [bank],
  );
  return rows[0]!.facts;
}
