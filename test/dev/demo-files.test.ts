import { mkdtemp, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { filesOf } from "../../dev/demo-files.ts";
import { workerOfPage } from "../../dev/demo-job-workers.ts";

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "holdfast-demo-files-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  await mkdir(join(dir, "b", "deep"), { recursive: true });
  await mkdir(join(dir, ".cache"));
  await writeFile(join(dir, "b", "deep", "two.js"), "22");
  await writeFile(join(dir, "a.js"), "1");
  await writeFile(join(dir, "c.js"), "");
  await writeFile(join(dir, ".cache", "changes.json"), "{}");
  await symlink(join(dir, "a.js"), join(dir, "b", "link.js"));
  return dir;
}

test("files are counted in order of their names, without links and what tools keep for themselves", async () => {
  const dir = await folder();
  const { files, all } = await filesOf(dir);
  expect(all).toBe(3);
  expect(files).toEqual([
    { name: "a.js", path: join(dir, "a.js"), bytes: 1 },
    { name: "b/deep/two.js", path: join(dir, "b", "deep", "two.js"), bytes: 2 },
    { name: "c.js", path: join(dir, "c.js"), bytes: 0 },
  ]);
});

test("more files than the demo works are left out, and it is known how many there are", async () => {
  const { files, all } = await filesOf(await folder(), 2);
  expect(files.map(({ name }) => name)).toEqual(["a.js", "b/deep/two.js"]);
  expect(all).toBe(3);
});

test("the Python worker is the block of the page, and a page without one is said to have none", () => {
  const page = "Text.\n\n```python worker.py\nimport os\n\nprint(os)\n```\n\n```json x\n{}\n```\n";
  expect(workerOfPage(page)).toBe("import os\n\nprint(os)\n");
  expect(() => workerOfPage("```python other.py\n```\n")).toThrow(/has no block/);
});
