import { expect, test } from "vitest";
import { ClaimRequest, JobSubmit, PostRequest } from "../../contracts/job.ts";

const handle = "A".repeat(59);

function issues(
  schema: typeof ClaimRequest | typeof JobSubmit | typeof PostRequest,
  value: unknown,
) {
  const parsed = schema.safeParse(value);
  return parsed.success
    ? []
    : parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
}

test("a submit takes items or a collector, with the defaults of a job", () => {
  expect(JobSubmit.parse({ pipeline: "detect", items: [{ payload: { url: "u" } }] })).toMatchObject(
    {
      tenant: "default",
      options: { priority: 3, weight: 1, batchSize: 24, leaseSeconds: 300, deliveries: 2 },
    },
  );
  expect(issues(JobSubmit, { pipeline: "detect", items: [] })).toEqual([]);
  expect(issues(JobSubmit, { pipeline: "detect", collector: "captures" })).toEqual([]);
  expect(issues(JobSubmit, { pipeline: "detect" })[0]).toMatch(/^items: send either/);
  expect(issues(JobSubmit, { pipeline: "detect", items: [], collector: "c" })).toHaveLength(1);
  const large = { pipeline: "p", items: [{ payload: "x".repeat(16_384) }] };
  expect(issues(JobSubmit, large)[0]).toMatch(/^items.0.payload: must be at most 16384 bytes/);
  expect(issues(JobSubmit, { pipeline: "p", items: [{ payload: { a: ["\0"] } }] })[0]).toMatch(
    /NUL/,
  );
  expect(issues(JobSubmit, { pipeline: "p", items: [{ payload: { a: "\\u0000" } }] })).toEqual([]);
  const zeros = { leaseSeconds: 0, deliveries: 0, batchSize: 0, priority: 6, maxFailedShare: 1.1 };
  expect(issues(JobSubmit, { pipeline: "p", items: [], options: zeros })).toHaveLength(5);
});

test("a claim takes 1 to 100 batches and waits at most 60 s", () => {
  const asked = { pipelines: ["p"], worker: "gpu-1" };
  expect(ClaimRequest.parse(asked)).toEqual({
    ...asked,
    limit: 1,
    waitSeconds: 0,
    heartbeat: false,
  });
  for (const bad of [
    { limit: 0 },
    { limit: 101 },
    { limit: 1.5 },
    { limit: "many" },
    { waitSeconds: 61 },
    { pipelines: [] },
    { worker: "" },
    { pipeline: "p" },
  ]) {
    expect(issues(ClaimRequest, { ...asked, ...bad })).toHaveLength(1);
  }
});

test("a result is one of a result, a reference and an error, and only an error may leave the item out", () => {
  const of = (result: object) => issues(PostRequest, { results: [{ handle, ...result }] });
  expect(of({ item: 1, result: null })).toEqual([]);
  expect(of({ item: 1, reference: "s3://x" })).toEqual([]);
  expect(of({ error: "bad" })).toEqual([]);
  expect(of({ item: 1, result: 1, counts: { found: 3 } })).toEqual([]);
  expect(of({ item: 1 })[0]).toMatch(/send one of/);
  expect(of({ item: 1, result: 1, error: "bad" })[0]).toMatch(/send one of/);
  expect(of({ result: 1 })[0]).toMatch(/must name the item/);
  expect(of({ item: 1, error: "bad", counts: { found: 3 } })[0]).toMatch(/go with a result/);
  expect(of({ item: 1, result: 1, counts: { found: -1 } })).toHaveLength(1);
  expect(of({ item: 1, result: 1, counts: { "Not a name": 1 } })).toHaveLength(1);
  const names = Array.from({ length: 17 }, (_, n) => [`n${n}`, 1]);
  expect(of({ item: 1, result: 1, counts: Object.fromEntries(names) })[0]).toMatch(/at most 16/);
  expect(of({ item: 1, result: 1, handle: "short" })[0]).toMatch(/must be a handle/);
  expect(issues(PostRequest, { results: [] })[0]).toMatch(/at least one/);
  const many = Array.from({ length: 1_001 }, () => ({ handle, item: 1, result: 1 }));
  expect(issues(PostRequest, { results: many })[0]).toMatch(/at most 1000 results; split/);
});
