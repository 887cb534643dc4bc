import type {
  InventoryObjectView,
  ObjectChangeView,
  ObjectReferencesView,
} from "../../client/inventory.ts";
import { NotFound } from "../../contracts/errors.ts";
import type { Page } from "../../contracts/operation.ts";
import type { InventoryType } from "../../domain/registry.ts";
import type { Body } from "./body.ts";
import { ChangeDiff, KindBadge } from "./change-diff.tsx";
import { FieldName, nameIn, Value } from "./field-value.tsx";
import type { Visit } from "./frame.tsx";
import { counted, number } from "./format.ts";
import { branchAddress, deviationAddress, objectAddress } from "./inventory-address.ts";
import { Fact } from "./operation-header.tsx";
import { Ago, Copy, Empty, NextPage, Shown, Table, withParams } from "./pieces.tsx";
import { part, type Part } from "./reading.ts";
import { registryFor } from "./registry.ts";

const REFERRERS = 50;
const CHANGES = 20;

/** One object: its fields, what it refers to and what refers to it, and what became of it. @throws NotFound */
export async function objectBody({ c, read, url }: Visit): Promise<Body> {
  const id = c.req.param("id")!;
  const { inventory } = read.holdfast;
  const changesAfter = url.searchParams.get("changesAfter");
  const history = await part(() =>
    inventory.history(id, { limit: CHANGES, ...(changesAfter && { after: changesAfter }) }),
  );
  const object = await inventory.get(id).catch((error: unknown) => {
    if (error instanceof NotFound && "value" in history && history.value.items.length > 0) {
      return undefined;
    }
    throw error;
  });
  if (!object) return goneBody(id, history, url);
  const after = url.searchParams.get("after");
  const references = await part(() =>
    inventory.references(id, { limit: REFERRERS, ...(after && { after }) }),
  );
  const type = (await registryFor(read, object.tenant))?.types.get(object.type);
  return {
    title: object.title,
    at: "inventory",
    sections: {
      head: <Head object={object} />,
      attributes: <Attributes object={object} type={type} references={references} />,
      references: <Referrers part={references} url={url} />,
      history: <History part={history} type={type} url={url} />,
    },
  };
}

function goneBody(id: string, history: Part<Page<ObjectChangeView>>, url: URL): Body {
  return {
    title: `object ${id}`,
    at: "inventory",
    sections: {
      head: (
        <>
          <p class="crumbs">
            <a href="/inventory">Inventory</a>
          </p>
          <h1>object {id}</h1>
          <p class="why">It is no longer in the inventory. Its history is kept for a while.</p>
        </>
      ),
      history: <History part={history} type={undefined} url={url} />,
    },
  };
}

function Head({ object }: { object: InventoryObjectView }) {
  const { tenant, branch, type } = object;
  return (
    <>
      <p class="crumbs">
        <a href={branchAddress("/inventory", { tenant, branch })}>Inventory</a> /{" "}
        <a href={branchAddress("/inventory", { tenant, branch }, { type })}>
          {type.replaceAll("_", " ")}
        </a>
      </p>
      <div class="title">
        <h1>{object.title}</h1>
      </div>
      <dl class="facts">
        <Fact name="Tenant / branch">
          {tenant} / {branch}
        </Fact>
        <Fact name="Id">
          <code>{object.id}</code> <Copy text={object.id} />
        </Fact>
        <Fact name="Version">{number(object.version)}</Fact>
        <Fact name="Made">
          <Ago at={object.createdAt} />
        </Fact>
        <Fact name="Updated">
          <Ago at={object.updatedAt} />
        </Fact>
      </dl>
    </>
  );
}

function Attributes(props: {
  object: InventoryObjectView;
  type: InventoryType | undefined;
  references: Part<ObjectReferencesView>;
}) {
  const { object, type, references } = props;
  const out = "value" in references ? references.value.out : [];
  return (
    <>
      <h2>Fields</h2>
      <Table
        label="fields"
        look="wide diff"
        head={
          <>
            <th>Field</th>
            <th>Value</th>
          </>
        }
      >
        {Object.entries(object.attributes).map(([name, value]) => {
          const links = out.filter(({ field }) => field === name);
          return (
            <tr>
              <th scope="row">
                <FieldName type={type} name={name} />
              </th>
              <td class="value">
                {links.length > 0 ? (
                  links.map((one) => (
                    <span class="line">
                      {one.type ? <a href={objectAddress(one.id)}>{one.title}</a> : one.title}
                    </span>
                  ))
                ) : (
                  <Value field={type?.fields.get(name)} value={value} />
                )}
              </td>
            </tr>
          );
        })}
      </Table>
    </>
  );
}

function Referrers({ part, url }: { part: Part<ObjectReferencesView>; url: URL }) {
  return (
    <>
      <h2>Referred to by</h2>
      <Shown part={part}>
        {({ in: { items, next } }) => (
          <>
            {items.length === 0 ? (
              <p class="faint">
                {url.searchParams.has("after") ? "No more." : "Nothing refers to it."}
              </p>
            ) : (
              <Table
                label="referred to by"
                head={
                  <>
                    <th>Object</th>
                    <th>In full</th>
                    <th>As its</th>
                  </>
                }
              >
                {items.map((one) => (
                  <tr>
                    <td>
                      <a href={objectAddress(one.id)}>{one.title}</a>
                    </td>
                    <td class="cut wider" title={nameIn(one.identity)}>
                      {nameIn(one.identity)}
                    </td>
                    <td>{one.fields.map((field) => field.replaceAll("_", " ")).join(", ")}</td>
                  </tr>
                ))}
              </Table>
            )}
            {next && (
              <NextPage href={withParams(url, { after: next }, "references")} words="More" />
            )}
          </>
        )}
      </Shown>
    </>
  );
}

function History(props: {
  part: Part<Page<ObjectChangeView>>;
  type: InventoryType | undefined;
  url: URL;
}) {
  const { part, type, url } = props;
  return (
    <>
      <h2>History</h2>
      <Shown part={part}>
        {({ items, next }) => (
          <>
            {items.length === 0 && <Empty>No change of it is kept any more.</Empty>}
            {items.map((change, no) => (
              <details open={no === 0} class="change">
                <summary>
                  <KindBadge kind={change.kind} done /> as version {number(change.version)},{" "}
                  <Ago at={change.at} /> <span class="faint">{fieldsIn(change)}</span>
                </summary>
                <p>
                  <Why change={change} />
                </p>
                {change.before && change.after ? (
                  <ChangeDiff
                    kind={change.kind}
                    type={type}
                    before={change.before}
                    after={change.after}
                    label={`change to version ${change.version}`}
                  />
                ) : (
                  <p class="faint">The change set that says what changed is no longer kept.</p>
                )}
              </details>
            ))}
            {next && (
              <NextPage
                href={withParams(url, { changesAfter: next }, "history")}
                words="Older changes"
              />
            )}
          </>
        )}
      </Shown>
    </>
  );
}

function fieldsIn({ before, after }: ObjectChangeView): string {
  if (!before || !after) return "";
  return counted(new Set([...Object.keys(before), ...Object.keys(after)]).size, "field");
}

function Why({ change }: { change: ObjectChangeView }) {
  return (
    <>
      By <a href={deviationAddress(change.entity)}>entity {change.entity}</a>
      {change.title && ` (${change.title})`}
      {change.decidedBy && `, approved by ${change.decidedBy}`}
      {change.rule && `, let through by the rule ${change.rule}`}
      {change.operation && (
        <>
          , in the plan <a href={`/plans/${change.operation}`}>…{change.operation.slice(-8)}</a>
        </>
      )}
      .
    </>
  );
}
