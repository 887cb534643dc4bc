import type { Holdfast } from "../../client/index.ts";
import { seedOperation, mulberry32, type NewSeed } from "../../dev/seed-console.ts";
import { serving, type Serving } from "./serving.ts";

/** A browser without script: it keeps its cookie and sends the forms it is shown. */
export interface Browsing {
  get(path: string, headers?: Record<string, string>): Promise<Shown>;
  /** Sends a form as a page of this server would; `token` is taken from the page at that path. */
  post(
    path: string,
    fields: Record<string, string>,
    headers?: Record<string, string>,
  ): Promise<Shown>;
  cookie: string;
}

export interface Shown {
  status: number;
  html: string;
  headers: Headers;
  location: string | null;
}

const HOST = "http://localhost";

export function browsing(server: Serving): Browsing {
  const browser: Browsing = {
    cookie: "",
    get: (path, headers = {}) => ask("GET", path, headers),
    post: async (path, fields, headers = { origin: HOST, "sec-fetch-site": "same-origin" }) =>
      ask(
        "POST",
        path,
        { "content-type": "application/x-www-form-urlencoded", host: "localhost", ...headers },
        new URLSearchParams(fields).toString(),
      ),
  };
  return browser;

  async function ask(method: string, path: string, headers: Record<string, string>, body?: string) {
    const answer = await server.app.request(HOST + path, {
      method,
      headers: { ...(browser.cookie ? { cookie: browser.cookie } : {}), ...headers },
      ...(body === undefined ? {} : { body }),
    });
    const set = answer.headers.get("set-cookie");
    if (set) browser.cookie = set.split(";")[0]!;
    return {
      status: answer.status,
      html: await answer.text(),
      headers: answer.headers,
      location: answer.headers.get("location"),
    };
  }
}

/** A server with sign-in off, and a browser in front of it. */
export async function openConsole(): Promise<Serving & Browsing> {
  const server = await serving({ auth: "off" });
  return Object.assign(server, browsing(server));
}

/** Signs in with a new key of this role. */
export async function signedIn(
  server: Serving,
  role: "viewer" | "service" | "operator" | "admin",
  tenants?: string[],
): Promise<Browsing> {
  const browser = browsing(server);
  await browser.post("/sign-in", { key: await server.key(role, tenants), next: "/" });
  return browser;
}

/** The token of the form that stands on a page. */
export function tokenIn({ html }: Shown): string {
  const token = /name="token" value="([^"]+)"/.exec(html)?.[1];
  if (!token) throw new Error(`no form on this page: ${html.slice(0, 500)}`);
  return token;
}

/** The HTML of one section of a page. */
export function sectionOf({ html }: Shown, id: string): string {
  const from = html.indexOf(`<section id="${id}">`);
  return html.slice(from, html.indexOf("</section>", from));
}

/** One operation of tenant `default`, bank `letters`, written by hand. */
export function anOperation(
  server: { holdfast: Holdfast },
  seed: Partial<NewSeed> = {},
): Promise<string> {
  return seedOperation(server.holdfast.db, {
    ending: "running",
    tenant: "default",
    bank: "letters",
    ageMs: 60_000,
    items: 30,
    random: mulberry32(1),
    ...seed,
  });
}
