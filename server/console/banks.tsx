import type { BankView, DocumentSummary } from "../../contracts/retain.ts";
import type { Page } from "../../contracts/operation.ts";
import { bankAddress, documentAddress } from "./bank-address.ts";
import type { Body } from "./body.ts";
import type { Visit } from "./frame.tsx";
import { counted, number } from "./format.ts";
import { Ago, Empty, NextPage, Shown, Table, withParams } from "./pieces.tsx";
import { part, type Part } from "./reading.ts";

const BANKS = 50;
const DOCUMENTS = 100;

/** Banks with what they hold. */
export async function banksBody({ read, url }: Visit): Promise<Body> {
  const after = url.searchParams.get("after");
  const banks = await part(() =>
    read.holdfast.bank.list({ limit: BANKS, ...(after && { after }) }),
  );
  return {
    title: "Banks",
    at: "banks",
    sections: {
      banks: (
        <>
          <h1>Banks</h1>
          <Shown part={banks}>
            {({ items, next }) => (
              <>
                {items.length === 0 ? (
                  <Empty command="holdfast retain submit <file> --bank <name>">
                    No bank yet. The first batch that names one makes it:
                  </Empty>
                ) : (
                  <Banks items={items} />
                )}
                {next && <NextPage href={withParams(url, { after: next })} words="More banks" />}
              </>
            )}
          </Shown>
        </>
      ),
    },
  };
}

function Banks({ items }: { items: BankView[] }) {
  return (
    <Table
      label="banks"
      look="wide"
      head={
        <>
          <th>Bank</th>
          <th>Tenant</th>
          <th class="num">Documents</th>
          <th class="num">Facts</th>
          <th class="num">Observations</th>
          <th class="num">Open operations</th>
          <th>Made</th>
        </>
      }
    >
      {items.map((bank) => (
        <tr>
          <td class="cut" title={bank.name}>
            <a href={bankAddress(bank.tenant, bank.name)}>{bank.name}</a>
          </td>
          <td>{bank.tenant}</td>
          <td class="num">
            <a href={bankAddress(bank.tenant, bank.name)}>{number(bank.documents)}</a>
          </td>
          <td class="num">{number(bank.facts)}</td>
          <td class="num">{number(bank.observations)}</td>
          <td class="num">
            <a href={operationsOf(bank.tenant, bank.name, "open")}>{number(bank.openOperations)}</a>
          </td>
          <td>
            <Ago at={bank.createdAt} />
          </td>
        </tr>
      ))}
    </Table>
  );
}

/** One bank and its documents. @throws NotFound */
export async function bankBody({ c, read, url }: Visit): Promise<Body> {
  const name = c.req.param("bank")!;
  const of = tenantOf(url);
  const after = url.searchParams.get("after");
  const documents = await read.holdfast.document.list(name, {
    ...of,
    limit: DOCUMENTS,
    ...(after && { after }),
  });
  const bank = await part(() => read.holdfast.bank.get(name, of));
  return {
    title: name,
    at: "banks",
    sections: {
      head: (
        <>
          <p class="crumbs">
            <a href="/banks">Banks</a>
          </p>
          <h1>{name}</h1>
          <Shown part={bank}>{(view) => <BankFacts bank={view} />}</Shown>
        </>
      ),
      documents: <Documents bank={name} bankView={bank} documents={documents} url={url} />,
    },
  };
}

function BankFacts({ bank }: { bank: BankView }) {
  return (
    <p>
      In {bank.tenant}: {counted(bank.documents, "document")}, {counted(bank.facts, "fact")},{" "}
      {counted(bank.observations, "observation")}.{" "}
      <a href={operationsOf(bank.tenant, bank.name)}>Its operations</a>,{" "}
      <a href={operationsOf(bank.tenant, bank.name, "open")}>{number(bank.openOperations)} open</a>.
    </p>
  );
}

function Documents(props: {
  bank: string;
  bankView: Part<BankView>;
  documents: Page<DocumentSummary>;
  url: URL;
}) {
  const { bank, bankView, documents, url } = props;
  const tenant = "value" in bankView ? bankView.value.tenant : url.searchParams.get("tenant");
  return (
    <>
      <h2>Documents</h2>
      {documents.items.length === 0 ? (
        <Empty command={`holdfast retain submit <file> --bank <name>`}>
          {url.searchParams.has("after")
            ? "No document comes after this page."
            : "No document is written here yet. Hand some in:"}
        </Empty>
      ) : (
        <Table
          label="documents"
          look="wide"
          head={
            <>
              <th>Document</th>
              <th class="num">Parts</th>
              <th class="num">Characters</th>
              <th class="num">Facts</th>
              <th>Written</th>
            </>
          }
        >
          {documents.items.map((one) => (
            <tr>
              <td class="cut" title={one.documentId}>
                <a href={documentAddress(tenant, bank, one.documentId)}>{one.documentId}</a>
              </td>
              <td class="num">{number(one.parts)}</td>
              <td class="num">{number(one.size)}</td>
              <td class="num">{number(one.facts)}</td>
              <td>
                <Ago at={one.updatedAt} />
              </td>
            </tr>
          ))}
        </Table>
      )}
      {documents.next && (
        <NextPage
          href={withParams(url, { after: documents.next }, "documents")}
          words="More documents"
        />
      )}
    </>
  );
}

/** The tenant an address names; without one, the caller's own. */
export function tenantOf(url: URL): { tenant?: string } {
  const tenant = url.searchParams.get("tenant");
  return tenant ? { tenant } : {};
}

function operationsOf(tenant: string, scope: string, state?: string): string {
  return `/operations?${new URLSearchParams({ tenant, scope, ...(state && { state }) })}`;
}
