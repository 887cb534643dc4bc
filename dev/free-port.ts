import { randomInt } from "node:crypto";
import getPort, { portNumbers } from "get-port";

/**
 * A free port on loopback, the preferred one if it is free.
 *
 * It lies below the range the kernel takes outgoing ports from: a client that keeps dialling a server
 * which is down could otherwise be given the server's own port, connect to itself, and keep the server
 * from coming back.
 */
export async function freePort(preferred?: number): Promise<number> {
  const first = randomInt(20_000, 29_000);
  const candidates = portNumbers(first, first + 999);
  return getPort({
    host: "127.0.0.1",
    port: preferred === undefined ? candidates : [preferred, ...candidates],
  });
}
