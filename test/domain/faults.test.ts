import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Deferred, Refused } from "../../contracts/errors.ts";
import { backoffMs, classify, deferredUntil, isPermanent } from "../../domain/faults.ts";

const coded = (code: string | number, message = "boom", rest: object = {}) =>
  Object.assign(new Error(message), { code, ...rest });
const grpc = (code: number, details = "") => coded(code, `${code}: ${details}`, { details });
const named = (name: string) => Object.assign(new Error("stop"), { name });
const noon = new Date("2026-11-21T12:00:00Z");

test.each([
  "08000",
  "08003",
  "08006",
  "08P01",
  "0A000",
  "25006",
  "25P03",
  "26000",
  "28P01",
  "3D000",
  "40001",
  "40P01",
  "53100",
  "53200",
  "53300",
  "53400",
  "55P03",
  "57014",
  "57P01",
  "57P02",
  "57P03",
  "58030",
])("SQLSTATE %s is the database's trouble, not the item's", (code) => {
  expect(classify(coded(code))).toBe("infrastructure");
  expect(isPermanent(coded(code))).toBe(false);
});

test.each([
  "22001",
  "22003",
  "22021",
  "22P02",
  "22P05",
  "23502",
  "23503",
  "23505",
  "23514",
  "23P01",
  "21000",
  "54000",
])("SQLSTATE %s is a fault of the data, and trying again cannot help", (code) => {
  expect(classify(coded(code))).toBe("domain");
  expect(isPermanent(coded(code))).toBe(true);
});

test.each(["42601", "42703", "42P01", "P0001", "XX000"])(
  "SQLSTATE %s counts on the item, but may pass another time",
  (code) => {
    expect(classify(coded(code))).toBe("domain");
    expect(isPermanent(coded(code))).toBe(false);
  },
);

test.each([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAI_AGAIN",
  "ENOTFOUND",
  "UND_ERR_SOCKET",
  "UND_ERR_CONNECT_TIMEOUT",
])("%s is infrastructure", (code) => {
  expect(classify(coded(code))).toBe("infrastructure");
});

test.each([
  "Connection terminated",
  "Connection terminated unexpectedly",
  "Connection terminated due to connection timeout",
  "timeout exceeded when trying to connect",
  "Client has encountered a connection error and is not queryable",
  "Query read timeout",
])("pg's own %j is infrastructure though it has no code", (message) => {
  expect(classify(new Error(message))).toBe("infrastructure");
});

test.each([
  [grpc(14, "No connection established"), "infrastructure"],
  [grpc(4, "Deadline exceeded"), "infrastructure"],
  [grpc(8, "namespace rate limit exceeded"), "infrastructure"],
  [grpc(1, "server is shutting down"), "infrastructure"],
  [grpc(13, "Received RST_STREAM with code 2"), "infrastructure"],
  [grpc(13, "cannot serialise"), "domain"],
  [grpc(3, "bad argument"), "domain"],
  [coded(14, "a number that is no gRPC status"), "domain"],
] as const)("gRPC %s is %s", (error, fault) => {
  expect(classify(error)).toBe(fault);
});

test.each([
  [new Deferred(noon), "deferred"],
  [new Refused("not this one"), "refused"],
  [Object.assign(new Error("x"), { name: "ApplicationFailure", type: "Refused" }), "refused"],
  [named("AbortError"), "cancelled"],
  [new DOMException("aborted", "AbortError"), "cancelled"],
  [named("CancelledFailure"), "cancelled"],
  [new TypeError("x is not a function"), "domain"],
  ["a thrown string", "domain"],
  [undefined, "domain"],
  [null, "domain"],
] as const)("%s is %s", (error, fault) => {
  expect(classify(error)).toBe(fault);
});

test("a real abort is a cancellation", async () => {
  const error = await fetch("http://127.0.0.1:1", { signal: AbortSignal.abort() }).catch((e) => e);
  expect(classify(error)).toBe("cancelled");
});

test("a real refused connection is infrastructure, however deep it is wrapped", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  const error = await fetch(`http://127.0.0.1:${port}`).catch((cause) => cause);
  expect(classify(error)).toBe("infrastructure");
  expect(classify(new Error("extract item 3", { cause: error }))).toBe("infrastructure");
});

test("the first of a chain of causes that means something decides", () => {
  expect(classify(new Error("write", { cause: coded("40001") }))).toBe("infrastructure");
  expect(classify(new Refused("no", { cause: coded("40001") }))).toBe("refused");
  expect(classify(coded("23505", "dup", { cause: coded("ECONNRESET") }))).toBe("domain");
  expect(isPermanent(new Error("write", { cause: coded("23505") }))).toBe(true);
  expect(classify(new AggregateError([coded("ECONNREFUSED"), coded("ECONNREFUSED")]))).toBe(
    "infrastructure",
  );
});

test("a system error with five capitals is no SQLSTATE and does not hide its cause", () => {
  expect(classify(coded("EPERM", "denied", { cause: coded("ECONNRESET") }))).toBe("infrastructure");
});

test("a cause that leads back to itself is no endless loop", () => {
  const error = new Error("a") as Error & { cause?: unknown };
  error.cause = new Error("b", { cause: error });
  expect(classify(error)).toBe("domain");
});

test("only a refusal is permanent among what is not about the data", () => {
  expect(isPermanent(new Refused("never"))).toBe(true);
  expect(isPermanent(new Deferred(noon))).toBe(false);
  expect(isPermanent(new Error("anything"))).toBe(false);
});

test("the time of a deferral is read through causes, also as text, and never invented", () => {
  expect(deferredUntil(new Deferred(noon))).toEqual(noon);
  expect(deferredUntil(new Error("x", { cause: new Deferred(noon) }))).toEqual(noon);
  expect(deferredUntil({ name: "Deferred", until: noon.toISOString() })).toEqual(noon);
  expect(deferredUntil({ name: "Deferred", until: "soon" })).toBeUndefined();
  expect(deferredUntil(new Error("x"))).toBeUndefined();
});

test("waits double up to the cap", () => {
  const waits = [1, 2, 3, 4, 5, 6].map((n) => backoffMs(n, { baseMs: 1_000, capMs: 30_000 }));
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
});

test("a wait is between half and all of its time, never over the cap, for any count and jitter", () => {
  fc.assert(
    fc.property(fc.integer(), fc.double({ noNaN: true }), (failures, jitter) => {
      const options = { baseMs: 100, capMs: 30_000 };
      const whole = backoffMs(failures, options);
      const wait = backoffMs(failures, { ...options, jitter });
      expect(wait).toBeGreaterThanOrEqual(whole / 2);
      expect(wait).toBeLessThanOrEqual(whole);
      expect(whole).toBeLessThanOrEqual(30_000);
      expect(whole).toBeGreaterThanOrEqual(100);
    }),
  );
});
