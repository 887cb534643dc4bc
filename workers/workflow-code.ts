import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { WorkflowBundleOption } from "@temporalio/worker";

/** The workflows of this version: the bundle a release brings, else their sources. */
export function currentWorkflowCode():
  | { workflowBundle: WorkflowBundleOption }
  | { workflowsPath: string } {
  const built = fileURLToPath(new URL("../workflow-bundle.js", import.meta.url));
  if (existsSync(built)) return { workflowBundle: { codePath: built } };
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return {
    workflowsPath: fileURLToPath(new URL(`../workflows/index.${extension}`, import.meta.url)),
  };
}
