import ipaddr from "ipaddr.js";

/**
 * Where events may be sent. Without a list: any public https host. With one: only what it names. A
 * host named in full may also be private, and may be spoken to over plain http; a pattern never
 * opens those.
 */

export type Destination =
  /** `named`: private addresses and plain http are meant. */
  { allowed: true; named: boolean } | { allowed: false; reason: string };

/** `allow`: entries `host`, `*.domain`, each with or without `:port`. `url`: a valid http(s) URL. */
export function destinationOf(url: string, allow: readonly string[] | undefined): Destination {
  const { protocol, hostname, port } = new URL(url);
  const at = { host: plain(hostname), port: port || (protocol === "https:" ? "443" : "80") };
  const entries = (allow ?? []).map(entryOf).filter((entry) => covers(entry, at));
  const named = entries.some((entry) => !entry.host.startsWith("*."));
  if (named) return { allowed: true, named };

  const how = `name "${at.host}" in webhooks.allow of the configuration to permit it`;
  if (allow !== undefined && entries.length === 0) {
    return { allowed: false, reason: `host ${at.host} is not an allowed destination: ${how}` };
  }
  if (protocol !== "https:") {
    return { allowed: false, reason: `plain http to ${at.host} is refused: use https, or ${how}` };
  }
  if (isPrivateAddress(at.host)) {
    return { allowed: false, reason: `${at.host} is not a public address: ${how}` };
  }
  return { allowed: true, named: false };
}

interface HostAndPort {
  host: string;
  /** Empty in an entry: any port. */
  port: string;
}

function entryOf(entry: string): HostAndPort {
  const [, host = "", port = ""] =
    /^(\[[^\]]*\]|[^:]*|[0-9a-f:]+)(?::(\d+))?$/i.exec(entry.trim()) ?? [];
  return { host: plain(host), port };
}

function covers(entry: HostAndPort, { host, port }: HostAndPort): boolean {
  if (entry.port !== "" && entry.port !== port) return false;
  return entry.host.startsWith("*.") ? host.endsWith(entry.host.slice(1)) : entry.host === host;
}

function plain(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/\.$/, "");
}

// A name is judged by what it resolves to, when it is connected to.
function isPrivateAddress(host: string): boolean {
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  return ipaddr.isValid(host) && ipaddr.parse(host).range() !== "unicast";
}
