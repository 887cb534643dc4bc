import { connect as dial, type Socket } from "node:net";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { expect, test, vi } from "vitest";
import { listening, type Listening } from "./listening.ts";

/** The head of an NDJSON upload, sent by hand. */
async function begin(server: Listening, headers: Record<string, string>): Promise<Socket> {
  const socket = dial(server.port, "127.0.0.1");
  await once(socket, "connect");
  const all = {
    host: "127.0.0.1",
    authorization: `Bearer ${await server.key("service")}`,
    "content-type": "application/x-ndjson",
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`POST /v1/retain?bank=b HTTP/1.1\r\n${lines.join("")}\r\n`);
  return socket;
}

const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const LINE = `${JSON.stringify({ content: "x".repeat(1_000) })}\n`;

const operations = async ({ holdfast }: Listening) =>
  (await holdfast.operation.list()).items.length;

async function spools(): Promise<number> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith("holdfast-upload-")).length;
}

test.for([
  ["by the client's death", "destroy"],
  ["by a half-closed connection", "end"],
] as const)("an upload that ends early %s leaves nothing", async ([, how]) => {
  await using server = await listening();
  const socket = await begin(server, { "transfer-encoding": "chunked" });
  socket.on("error", () => undefined);
  for (let i = 0; i < 50; i++) socket.write(chunk(LINE));
  // Whole lines have come, and nothing says that more will not.
  socket.write('400\r\n{"content"');
  await vi.waitFor(async () => expect(socket.bytesWritten).toBeGreaterThan(50_000));
  socket[how]();
  await vi.waitFor(() =>
    expect(server.logged.some(({ msg, path }) => msg === "request" && path === "/v1/retain")).toBe(
      true,
    ),
  );
  expect(await operations(server)).toBe(0);
  expect(await spools()).toBe(0);
  expect(server.logged.filter(({ level }) => level >= 40)).toEqual([]);
  socket.destroy();
});

test("an announced length that never comes leaves nothing, and the server goes on", async () => {
  await using server = await listening();
  const socket = await begin(server, { "content-length": "1000000" });
  socket.on("error", () => undefined);
  socket.write(LINE.repeat(10));
  await vi.waitFor(() => expect(socket.bytesWritten).toBeGreaterThan(10_000));
  socket.destroy();
  await vi.waitFor(() =>
    expect(server.logged.some(({ msg, path }) => msg === "request" && path === "/v1/retain")).toBe(
      true,
    ),
  );
  expect(await operations(server)).toBe(0);
  expect((await fetch(`${server.url}/livez`)).status).toBe(200);
});

test("an upload is refused at its first bad line, while the client is still sending", async () => {
  await using server = await listening();
  const socket = await begin(server, { "transfer-encoding": "chunked" });
  socket.on("error", () => undefined);
  let answer = "";
  socket.on("data", (data: Buffer) => (answer += data.toString()));
  socket.write(chunk(LINE) + chunk("nonsense\n"));
  await vi.waitFor(() => expect(answer).toMatch(/^HTTP\/1.1 400 .*line 2: is not JSON/s));
  socket.destroy();
  expect(await operations(server)).toBe(0);
});

test("who may not upload is told before the upload is read", async () => {
  await using server = await listening();
  const socket = await begin(server, {
    "transfer-encoding": "chunked",
    authorization: "Bearer no",
  });
  socket.on("error", () => undefined);
  let answer = "";
  socket.on("data", (data: Buffer) => (answer += data.toString()));
  await vi.waitFor(() => expect(answer).toMatch(/^HTTP\/1.1 401 /));
  socket.destroy();
});

test("an upload longer than is taken ends with 413", { timeout: 60_000 }, async () => {
  await using server = await listening();
  const socket = await begin(server, { "content-length": String(600 * 1024 * 1024) });
  socket.on("error", () => undefined);
  const [data] = (await once(socket, "data")) as [Buffer];
  expect(data.toString()).toMatch(/^HTTP\/1.1 413 .*over 536870912 bytes/s);
  socket.destroy();
});
