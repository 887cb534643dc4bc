import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { InventoryObject } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { NETWORK_REGISTRY } from "../domain/registries/network.ts";
import { PACKAGES_REGISTRY } from "../domain/registries/packages.ts";
import { loadRegistry, type Registry } from "../domain/registry.ts";
import { wireJson, type JsonObject } from "../domain/target-wire.ts";
import { createFaultInventory, type FaultInventory } from "./fault-inventory.ts";
import { work } from "./fault-target-calls.ts";
import { Faults, FAULTS, spoilt, type Fault, type FaultName } from "./fault-target-faults.ts";

/**
 * A target that goes wrong on request, on loopback: it speaks the bulk contract over an inventory in
 * memory. By hand: `npx tsx dev/fault-target.ts --port 8090 --fault slow --fault status-500`.
 */

export interface FaultTargetOptions {
  registry?: Registry;
  seed?: readonly InventoryObject[];
  port?: number;
  /** What `default-branch/` says. */
  branch?: { id: string; name: string } | null;
  clientId?: string;
  clientSecret?: string;
  /** Seconds that a token lives. Default 3,600. */
  tokenSeconds?: number;
  /** Of the fault `slow`. Default 500 ms. */
  slowMs?: number;
}

export interface SeenCall {
  path: string;
  branch: string | undefined;
  key: string | undefined;
  entities: number;
  /** Epoch milliseconds. */
  at: number;
}

export interface FaultTarget {
  readonly url: string;
  readonly tokenUrl: string;
  readonly port: number;
  readonly inventory: FaultInventory;
  /** Every call, refused ones included. */
  readonly calls: SeenCall[];
  /** Tokens given out. */
  tokens(): number;
  /** From now on this goes wrong. */
  fail(...faults: Fault[]): void;
  /** Nothing goes wrong any more. */
  heal(): void;
  /** Calls that were done and are held back by `timeout-after`. */
  held(): number;
  /** Takes connections no more, and drops those there are. */
  down(): Promise<void>;
  /** Takes connections again, at the same port. */
  up(): Promise<void>;
  stop(): Promise<void>;
}

export async function startFaultTarget(options: FaultTargetOptions = {}): Promise<FaultTarget> {
  const registry = options.registry ?? loadRegistry(NETWORK_REGISTRY);
  const inventory = createFaultInventory(registry, options.seed);
  const { branch = null, clientId = "holdfast", clientSecret = "secret" } = options;
  const calls: SeenCall[] = [];
  const faults = new Faults();
  const faultOf = faults.of.bind(faults);
  const good = new Set<string>();
  const refusedOnce = new Set<string>();
  let tokens = 0;
  let held = 0;

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? "").replace(/^\/(api\/)?/, "");
    const text = await bodyOf(request);
    if (path === "token/") return token(request, text, response);
    const seen: SeenCall = {
      path,
      branch: header(request, "x-netbox-branch"),
      key: header(request, "idempotency-key"),
      entities: 0,
      at: Date.now(),
    };
    calls.push(seen);
    const bearer = (header(request, "authorization") ?? "").replace(/^Bearer /, "");
    const stale = !refusedOnce.has(bearer) && faultOf(path, text, ["stale-token"]) !== undefined;
    if (stale) refusedOnce.add(bearer);
    if (!good.has(bearer) || stale) return reply(response, 401, { detail: "no such token" });
    if (path === "default-branch/") {
      if (faultOf(path, text, ["no-default-branch"])) return reply(response, 404, {});
      return faults.isBranchAway() ? reply(response, 500, {}) : reply(response, 200, { branch });
    }
    if (path.startsWith("bulk-") && faultOf(path, text, ["no-bulk"])) {
      return reply(response, 404, { detail: "Not found." });
    }
    if (faultOf(path, text, ["slow"])) await pause(options.slowMs ?? 500);
    const before = faultOf(path, text, [
      "status-500",
      "status-503",
      "status-429",
      "status-400",
      "timeout-before",
    ]);
    if (before === "timeout-before") return;
    if (before === "status-429") response.setHeader("retry-after", "1");
    if (before) {
      const errors = { request: { __all__: [`this went wrong on request: ${before}`] } };
      return reply(response, Number(before.slice(-3)), { errors });
    }
    let body: JsonObject;
    try {
      body = parseExactJson(text) as JsonObject;
    } catch {
      return reply(response, 400, { errors: { request: { __all__: ["no JSON"] } } });
    }
    const done = work(inventory, path, body, seen, faultOf(path, text, ["deadlock"]) !== undefined);
    const after = faultOf(path, text, [
      "timeout-after",
      "reset",
      "missing-result",
      "wrong-order",
      "duplicate-ids",
      "null-change-set",
      "not-json",
    ]);
    if (after === "timeout-after") return void held++;
    if (after === "not-json") return void response.writeHead(200).end("<html>welcome</html>");
    const told =
      after && Array.isArray(done.body["results"]) ? spoilt(done.body, after) : done.body;
    if (after === "reset") {
      const half = wireJson(told);
      response.writeHead(done.status, { "content-length": half.length + 100 });
      response.write(half.slice(0, half.length / 2), () => response.destroy());
      return;
    }
    reply(response, done.status, told);
  };

  const token = (request: IncomingMessage, text: string, response: ServerResponse): void => {
    const wanted = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
    const form = new URLSearchParams(text);
    const scopes = form.get("scope")?.split(" ") ?? [];
    const allowed = ["netbox:read", "netbox:write"].every((scope) => scopes.includes(scope));
    if (
      header(request, "authorization") !== wanted ||
      form.get("grant_type") !== "client_credentials" ||
      !allowed
    ) {
      return reply(response, 401, { error: "invalid_client" });
    }
    const made = `t${++tokens}-${Math.random().toString(36).slice(2)}`;
    const seconds = options.tokenSeconds ?? 3_600;
    good.add(made);
    setTimeout(() => good.delete(made), seconds * 1_000).unref();
    reply(response, 200, { access_token: made, token_type: "Bearer", expires_in: seconds });
  };

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  const up = async (port: number) => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  };
  const down = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  const port = await up(options.port ?? 0);
  return {
    url: `http://127.0.0.1:${port}/api/`,
    tokenUrl: `http://127.0.0.1:${port}/token/`,
    port,
    inventory,
    calls,
    tokens: () => tokens,
    fail: (...more) => faults.add(more),
    heal: () => faults.clear(),
    held: () => held,
    down,
    up: async () => void (await up(port)),
    stop: () => (server.listening ? down() : Promise.resolve()),
  };
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

function reply(response: ServerResponse, status: number, body: JsonObject): void {
  response.writeHead(status, { "content-type": "application/json" }).end(wireJson(body));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8090" },
      registry: { type: "string", default: "network" },
      fault: { type: "string", multiple: true, default: [] },
    },
  });
  const wrong = values.fault.find((name) => !FAULTS.includes(name as FaultName));
  if (wrong !== undefined || !["network", "packages"].includes(values.registry)) {
    console.error(
      `usage: fault-target [--port N] [--registry network|packages] [--fault NAME]...\nfaults: ${FAULTS.join(", ")}`,
    );
    process.exit(2);
  }
  const file = values.registry === "packages" ? PACKAGES_REGISTRY : NETWORK_REGISTRY;
  const target = await startFaultTarget({
    port: Number(values.port),
    registry: loadRegistry(file),
  });
  target.fail(...values.fault.map((fault) => ({ fault: fault as FaultName })));
  console.log(`target at ${target.url}, tokens at ${target.tokenUrl} (holdfast / secret)`);
}
