import { expect, test } from "vitest";
import { InventorySettingsPatch } from "../../contracts/inventory-settings.ts";

test("text that Postgres cannot hold is refused by field, wherever settings have text", () => {
  const nul = "x\u0000";
  const rule = (when: object, name = "r") => ({ rules: [{ name, decision: "apply", when }] });
  const cases: [string, object][] = [
    ["defaultBranch", { defaultBranch: nul }],
    ["registry", { registry: nul }],
    ["rules.0.name", rule({}, nul)],
    ["rules.0.when.types.0", rule({ types: [nul] })],
    ["rules.0.when.tag", rule({ tag: nul })],
    ["rules.0.when.values.site", rule({ values: { site: nul } })],
  ];
  for (const [path, patch] of cases) {
    const { error } = InventorySettingsPatch.safeParse(patch);
    expect(error?.issues[0]?.path.join("."), path).toBe(path);
  }
  expect(InventorySettingsPatch.safeParse(rule({ values: { [nul]: 1 } })).success).toBe(false);
});
