import { expect, test } from "vitest";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { planning, sent } from "../support/planning.ts";

const NODES: HoldfastConfig = {
  inventory: {
    registry: "nodes",
    registries: {
      nodes: {
        name: "nodes",
        types: {
          node: {
            match: [["name"]],
            need: ["name", "kind"],
            fields: { name: "s", kind: "s", parent: "@node" },
          },
        },
      },
    },
  },
};

/** Always the same disorder. */
function shuffled<T>(all: readonly T[]): T[] {
  const mixed = [...all];
  for (let at = mixed.length - 1, seed = 7; at > 0; at--) {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    const other = seed % (at + 1);
    [mixed[at], mixed[other]] = [mixed[other]!, mixed[at]!];
  }
  return mixed;
}

const chain = (length: number) =>
  Array.from({ length }, (_, no) =>
    sent("node", {
      name: `n${no}`,
      kind: "k",
      ...(no > 0 && { parent: { name: `n${no - 1}` } }),
    }),
  );

test("a chain of four hundred that is sent in any order is planned whole, and applied whole", async () => {
  const plans = await planning(NODES);
  const ref = await plans.submit(shuffled(chain(400)));
  await plans.on(ref);
  const view = await plans.holdfast.plan.get(ref.id);
  expect(view).toMatchObject({ counts: { waiting: 400, failed: 0 }, changes: { create: 400 } });
  await plans.holdfast.plan.approve(ref.id, { hash: view.hash! });
  expect(await plans.on(ref)).toMatchObject({ state: "completed", counts: { succeeded: 400 } });
});

test("who refers to nobody in a plan fails alone, wherever it stands", async () => {
  const plans = await planning(NODES);
  const lost = [0, 1].map((no) =>
    sent("node", { name: `lost${no}`, kind: "k", parent: { name: no ? "lost0" : "nobody" } }),
  );
  const ref = await plans.submit([...lost, ...chain(20).toReversed()]);
  await plans.on(ref);
  expect((await plans.holdfast.plan.get(ref.id)).counts).toMatchObject({ waiting: 20, failed: 2 });
});
