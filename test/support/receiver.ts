import http from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

interface Received {
  path: string;
  headers: Record<string, string>;
  body: string;
}

/** What the receiver does with a request: a status to answer, or an answer of its own making. */
export type Reaction = number | ((answer: http.ServerResponse, received: Received) => void);

export interface Receiver {
  url: string;
  /** `host:port`, as it stands in `webhooks.allow`. */
  host: string;
  received: Received[];
  /** Of each next request in turn; the last one stays. */
  reactions: Reaction[];
}

/** A real HTTP server on loopback that keeps what it is sent. */
export async function receiver(...reactions: Reaction[]): Promise<Receiver> {
  const state: Receiver = { url: "", host: "", received: [], reactions };
  const server = http.createServer((request, answer) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const headers = request.headers as Record<string, string>;
      const received = { path: request.url!, headers, body: Buffer.concat(pieces).toString() };
      state.received.push(received);
      const reaction = (state.reactions.length > 1 ? state.reactions.shift() : state.reactions[0])!;
      if (typeof reaction === "number") answer.writeHead(reaction).end();
      else reaction(answer, received);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  state.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  state.url = `http://${state.host}/hook`;
  return state;
}
