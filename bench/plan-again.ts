import type { Frame } from "./frame.ts";
import { timed } from "./in-turn.ts";
import { feed } from "./inventory-feed.ts";
import { APPLY_ALL, applyAll, planDatabase, take } from "./plan-scene.ts";

/** The entities of one feed are made this many at a time, so that memory is not what is measured. */
const PART = 50_000;

/** A whole network sent once more, nothing of it changed. */
export async function measureAgain(frame: Frame): Promise<void> {
  const { db } = await planDatabase(frame);
  const size = frame.quick ? 5_000 : 500_000;
  const sets = async () =>
    (await db.query<{ n: string }>("select count(*) as n from holdfast.change_sets")).rows[0]!.n;

  const pass = async () => {
    let ms = 0;
    for (let first = 0; first < size; first += PART) {
      const entities = feed(Math.min(PART, size - first), { first });
      await take(db, "again", entities);
      await db.query("analyze holdfast.entities");
      ms += await timed(() => applyAll(db, "again", APPLY_ALL));
    }
    return (size * 1_000) / ms;
  };
  const created = await pass();
  const before = await sets();
  await db.query("vacuum analyze holdfast.entities");
  const unchanged = await pass();

  const what = `${size.toLocaleString("en")} unchanged entities`;
  frame.measure("created", created, "entities/s");
  frame.measure(`${what}, planned`, unchanged, "entities/s");
  frame.measure("unchanged, of created", unchanged / created, "x", { atLeast: 3 });
  frame.measure(
    "change sets written for what is unchanged",
    Number(await sets()) - Number(before),
    "",
    {
      exactly: 0,
    },
  );
  await frame.close();
}
