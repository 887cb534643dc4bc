import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { RetainClient } from "../client/index.ts";
import { InvalidInput } from "../contracts/errors.ts";
import type { Accepted } from "../contracts/operation.ts";
import { RETAIN_LIMITS, type RetainSubmit } from "../contracts/retain.ts";
import { documentLines, inFolder, type TextFile } from "./retain-folder.ts";
import { jsonArray, peek, readable, type Begun } from "./item-source.ts";
import { note } from "./output.ts";

type Header = Omit<RetainSubmit, "items">;

/** Something to submit, looked at far enough to know what it is. */
export interface Source {
  submit(retain: RetainClient, header: Header): Promise<Accepted>;
}

const ITEM_FILE = /\.(ndjson|jsonl|json)$/i;

/**
 * What a path means: a folder is its text files, one document each; `-` and files named .ndjson,
 * .jsonl or .json hold items, and so does a file that begins like JSON; any other file is a document.
 * @throws InvalidInput when there is no such file, or nothing in it
 */
export async function openSource(path: string, as?: "items" | "documents"): Promise<Source> {
  if (path === "-") return openStandardInput(as);
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "there is no such file or folder" : error.message;
    throw new InvalidInput([{ path, message: `${why}: check the path` }]);
  });
  if (found.isDirectory()) {
    if (as === "items") {
      throw new InvalidInput([{ path, message: "is a folder; --as items wants one file" }]);
    }
    const { files, skipped } = await inFolder(path);
    if (skipped > 0)
      note(`${skipped} ${skipped === 1 ? "file" : "files"} passed over: binary or blank`);
    return documents(path, files);
  }
  const bytes = readable(path);
  if (as === "documents") return documents(path, [{ id: basename(path), path }]);
  const begin = await peek(bytes);
  const holdsItems = as === "items" || ITEM_FILE.test(path) || /^\[\s*[{\]]|^\{/.test(begin.text);
  if (holdsItems) return items(begin);
  bytes.destroy();
  return documents(path, [{ id: basename(path), path }]);
}

async function openStandardInput(as?: "items" | "documents"): Promise<Source> {
  if (as === "documents") {
    throw new InvalidInput([
      { path: "-", message: "--as documents wants a file or folder: a document needs a name" },
    ]);
  }
  if (process.stdin.isTTY) note("reading items from the terminal; end with Ctrl-D");
  return items(await peek(process.stdin));
}

function items({ text, all }: Begun): Source {
  return {
    submit: async (retain, header) =>
      text.startsWith("[")
        ? retain.submit({ ...header, items: await jsonArray(all, ARRAY_BYTES) })
        : retain.submitLines(header, all),
  };
}

/** JSON may escape every character of what it holds, and be indented. */
const ARRAY_BYTES = 2 * RETAIN_LIMITS.batchBytes;

function documents(path: string, files: readonly TextFile[]): Source {
  if (files.length === 0) {
    throw new InvalidInput([{ path, message: "holds no text file: name a folder that does" }]);
  }
  if (files.length > RETAIN_LIMITS.items) {
    throw new InvalidInput([
      {
        path,
        message: `holds ${files.length} text files, a batch takes ${RETAIN_LIMITS.items}: submit its folders one by one`,
      },
    ]);
  }
  return {
    submit: (retain, header) =>
      retain.submitLines(header, documentLines(files)).catch((error: unknown) => {
        throw namingFiles(error, files);
      }),
  };
}

/** Says the file where the client says the line it was made into. */
function namingFiles(error: unknown, files: readonly TextFile[]): unknown {
  if (!(error instanceof InvalidInput)) return error;
  const issues = error.issues.map(({ path, message }) => ({
    path: path.replace(/^line (\d+)/, (line, no: string) => files[Number(no) - 1]?.path ?? line),
    message,
  }));
  return new InvalidInput(issues, error.code, error.status);
}
