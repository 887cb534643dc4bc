import { mkdirSync } from "node:fs";
import chromium from "@sparticuz/chromium";
import { chromium as launcher, type Browser, type Page } from "playwright-core";

/** Screenshots end here, out of version control. */
const ARTEFACTS = new URL("../artefacts/", import.meta.url).pathname;

/** Headless Chromium from a package, with its web security on. Needs nothing of the system. */
export async function startBrowser(): Promise<Browser> {
  return launcher.launch({
    executablePath: await chromium.executablePath(),
    // A container has no sandbox of its own to offer, and little shared memory.
    args: [
      "--headless=shell",
      "--no-sandbox",
      "--no-zygote",
      "--disable-gpu",
      "--disable-dev-shm-usage",
    ],
  });
}

export interface Look {
  width: 1280 | 390;
  scheme: "light" | "dark";
}

export const LOOKS: readonly Look[] = [
  { width: 1280, scheme: "light" },
  { width: 390, scheme: "light" },
  { width: 1280, scheme: "dark" },
  { width: 390, scheme: "dark" },
];

/** A page of a fresh browser profile. `complaints` gathers what the browser objects to. */
export async function openPage(
  browser: Browser,
  base: string,
  look: Look = LOOKS[0]!,
  options: { script?: boolean } = {},
): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser.newContext({
    baseURL: base,
    viewport: { width: look.width, height: 900 },
    colorScheme: look.scheme,
    javaScriptEnabled: options.script ?? true,
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  return { page, complaints };
}

export async function screenshot(page: Page, name: string, look: Look = LOOKS[0]!): Promise<void> {
  mkdirSync(ARTEFACTS, { recursive: true });
  await page.screenshot({
    path: `${ARTEFACTS}${name}-${look.width}-${look.scheme}.png`,
    fullPage: true,
  });
}
