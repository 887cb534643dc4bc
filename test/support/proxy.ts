import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** A TCP proxy that can lose or delay what passes through it. */
export interface Proxy {
  /** host:port to use instead of the target's. */
  readonly address: string;
  /** From now on what goes this way is lost; connections stay. */
  lose(way: "requests" | "replies"): void;
  /** From now on what goes this way arrives so much later. */
  delay(way: "requests" | "replies", ms: number): void;
  /** Breaks every connection, then everything passes again. */
  heal(): void;
  stop(): Promise<void>;
}

export async function startProxy(target: string): Promise<Proxy> {
  const [host, port] = target.split(":") as [string, string];
  const sockets = new Set<Socket>();
  let lost: "requests" | "replies" | undefined;
  let late = { requests: 0, replies: 0 };
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    for (const [from, to, way] of [
      [client, upstream, "requests"],
      [upstream, client, "replies"],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes) => {
        if (lost === way) return;
        if (late[way] === 0) to.write(bytes);
        else setTimeout(() => to.destroyed || to.write(bytes), late[way]);
      });
      from.on("error", () => undefined);
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as AddressInfo;
  const breakAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: `127.0.0.1:${own}`,
    lose: (way) => void (lost = way),
    delay: (way, ms) => void (late[way] = ms),
    heal: () => {
      lost = undefined;
      late = { requests: 0, replies: 0 };
      breakAll();
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        breakAll();
      }),
  };
}
