import type { Reporter, TestModule } from "vitest/node";

/** Ends a run with one plain line: `120 passed, 0 failed`, skipped tests counted out loud. */
export default class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const count = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      const tests = [...module.children.allTests()];
      for (const test of tests) count[test.result().state]++;
      // A file that could not be loaded has no tests to fail.
      if (!module.ok() && !tests.some((test) => test.result().state === "failed")) count.failed++;
    }
    const skipped = count.skipped + count.pending;
    const tail = skipped > 0 ? `, ${skipped} skipped` : "";
    console.log(`\n${count.passed} passed, ${count.failed} failed${tail}`);
  }
}
