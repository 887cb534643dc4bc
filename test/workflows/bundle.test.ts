import { fileURLToPath } from "node:url";
import { bundleWorkflowCode, DefaultLogger } from "@temporalio/worker";
import { expect, test } from "vitest";

/** Code units without the source map. Mostly the SDK; every worker holds it, and zod would double it. */
const BUDGET = 620_000;

/** Packages that workflow code may bring with it: the SDK and what the SDK needs. */
const PACKAGES = ["@temporalio/common", "@temporalio/workflow", "long", "ms", "nexus-rpc"];

test("the workflow bundle is small and holds nothing but workflows, decisions and plain contracts", async () => {
  const { code } = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL("../../workflows/index.ts", import.meta.url)),
    logger: new DefaultLogger("ERROR"),
  });
  const bare = code.slice(0, code.indexOf("//# sourceMappingURL="));
  const modules = [...bare.matchAll(/^\/\*\*\*\/ "([^"?][^"]*)"/gm)].map(([, name]) => name!);
  const packages = modules.flatMap(
    (name) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(name)?.[1] ?? [],
  );
  const ours = modules.filter((name) => !name.includes("node_modules"));

  expect(ours).toContain("./workflows/retain.ts");
  expect(ours.filter((name) => !/^\.\/(workflows|domain|contracts)\//.test(name))).toEqual([]);
  expect([...new Set(packages)].toSorted()).toEqual(PACKAGES);
  expect(bare).not.toMatch(/\bZodType\b|require\("node:/);
  expect(bare.length).toBeLessThan(BUDGET);
}, 60_000);
