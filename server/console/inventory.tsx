import type { InventoryObjectView } from "../../client/inventory.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import type { Body } from "./body.ts";
import { nameIn } from "./field-value.tsx";
import type { Visit } from "./frame.tsx";
import { number } from "./format.ts";
import { branchAddress, objectAddress } from "./inventory-address.ts";
import { BranchChoice, readBranches, type Branches } from "./inventory-branches.tsx";
import { Ago, Empty, NextPage, Shown, Table, withParams } from "./pieces.tsx";
import { part, type Part } from "./reading.ts";

const OBJECTS = 100;
/** Objects of one type are counted up to here. */
const COUNTED_TO = 10_000;

/** What a branch of the inventory holds: its types, or the objects of one. */
export async function inventoryBody({ read, url }: Visit): Promise<Body> {
  const branches = await readBranches(read, url);
  const type = url.searchParams.get("type") || undefined;
  return type === undefined
    ? typesBody(read.holdfast.inventory, branches)
    : objectsBody(read.holdfast.inventory, branches, type, url);
}

type Inventory = Visit["read"]["holdfast"]["inventory"];

async function typesBody(inventory: Inventory, branches: Branches): Promise<Body> {
  const types = await part(() => inventory.types(branches.of, COUNTED_TO));
  return {
    title: "Inventory",
    at: "inventory",
    sections: {
      head: (
        <>
          <h1>Inventory</h1>
          <BranchChoice branches={branches} action="/inventory" />
        </>
      ),
      types: (
        <Shown part={types}>
          {(rows) =>
            rows.length === 0 ? (
              <Empty command="holdfast inbox ingest <entities.ndjson>">
                No object here yet. Entities that are taken in, planned and applied make them:
              </Empty>
            ) : (
              <Table
                label="types"
                head={
                  <>
                    <th>Type</th>
                    <th class="num">Objects</th>
                    <th>Called</th>
                  </>
                }
              >
                {rows.map(({ type, label, objects, more }) => (
                  <tr>
                    <td>
                      <a href={branchAddress("/inventory", branches.of, { type })}>{label}</a>
                    </td>
                    <td class="num">
                      {number(objects)}
                      {more && "+"}
                    </td>
                    <td>
                      <code>{type}</code>
                    </td>
                  </tr>
                ))}
              </Table>
            )
          }
        </Shown>
      ),
    },
  };
}

async function objectsBody(
  inventory: Inventory,
  branches: Branches,
  type: string,
  url: URL,
): Promise<Body> {
  const text = url.searchParams.get("text") || undefined;
  const after = url.searchParams.get("after") || undefined;
  let wrong: InvalidInput | undefined;
  const objects = await part(() =>
    inventory
      .list({
        ...branches.of,
        type,
        limit: OBJECTS,
        ...(text && { text }),
        ...(after && { after }),
      })
      .catch((error: unknown) => {
        if (error instanceof InvalidInput) wrong = error;
        throw error;
      }),
  );
  const all = branchAddress("/inventory", branches.of, { type });
  return {
    title: type,
    at: "inventory",
    status: wrong ? 400 : 200,
    sections: {
      head: (
        <>
          <p class="crumbs">
            <a href={branchAddress("/inventory", branches.of)}>Inventory</a>
          </p>
          <h1>{type.replaceAll("_", " ")}</h1>
          <form class="filter" method="get" action="/inventory">
            <input type="hidden" name="type" value={type} />
            {Object.entries(branches.of).map(([name, value]) => (
              <input type="hidden" name={name} value={value} />
            ))}
            <label>
              <span>name begins with (case counts)</span>
              <input name="text" value={text ?? ""} size={24} placeholder="anything" />
            </label>
            <button>Filter</button>
            {text && <a href={all}>Clear</a>}
          </form>
          {wrong && (
            <p class="alarm" role="alert">
              This cannot be shown: {wrong.message}.
            </p>
          )}
        </>
      ),
      rows: wrong ? null : <Objects part={objects} url={url} all={all} filtered={!!text} />,
    },
  };
}

function Objects(props: {
  part: Part<{ items: InventoryObjectView[]; next?: string }>;
  url: URL;
  all: string;
  filtered: boolean;
}) {
  return (
    <Shown part={props.part}>
      {({ items, next }) => (
        <>
          {items.length === 0 && next === undefined ? (
            <Empty>
              {props.filtered
                ? "No object's name begins like this."
                : "No object comes after this."}{" "}
              <a href={props.all}>Show all</a>
            </Empty>
          ) : (
            <Table
              label="objects"
              look="wide lines"
              head={
                <>
                  <th>Object</th>
                  <th>In full</th>
                  <th class="num">Fields</th>
                  <th class="num">Version</th>
                  <th>Updated</th>
                </>
              }
            >
              {items.map((object) => (
                <tr>
                  <td class="cut" title={object.title}>
                    <a href={objectAddress(object.id)}>{object.title}</a>
                  </td>
                  <td class="cut wider" title={nameIn(object.identity)}>
                    {nameIn(object.identity)}
                  </td>
                  <td class="num">{number(Object.keys(object.attributes).length)}</td>
                  <td class="num">{number(object.version)}</td>
                  <td>
                    <Ago at={object.updatedAt} />
                  </td>
                </tr>
              ))}
            </Table>
          )}
          {next && <NextPage href={withParams(props.url, { after: next })} words="More objects" />}
        </>
      )}
    </Shown>
  );
}
