/** What the demo has counted of its inventory, by other means than the ones that made it. */
export interface InventoryFigures {
  /** Entities sent, and what came of them by state; lines that could not be taken. */
  sent: number;
  states: Partial<Record<string, number>>;
  rejected: number;
  /** The same, sent once more; absent for a file, which may say two things of one object. */
  again?: Partial<Record<string, number>>;
  /** Change sets that the second time wrote. */
  changeSetsAgain?: number;
  /** Objects by type, as counted in the files, and as the inventory lists them; of packages only. */
  expected?: Record<string, number>;
  found?: Record<string, number>;
  /** The plan: entities that were changed, approved, applied, rejected; absent when none could be. */
  plan?: { changed: number; approved: number; applied: number; rejected: number };
  /** Changed objects that are not as approved, or are although they were rejected. */
  notAsDecided: readonly string[];
}

/** What was not as promised of the inventory, a line each. */
export function inventoryBroken(figures: InventoryFigures): string[] {
  const { sent, states, again, changeSetsAgain, plan } = figures;
  const ended = Object.values(states).reduce<number>((sum, n) => sum + (n ?? 0), 0);
  return [
    ...(ended + figures.rejected === sent
      ? []
      : [`${sent} entities were sent, and ${ended + figures.rejected} are accounted for`]),
    ...(again && (again["no_changes"] ?? 0) !== sent
      ? [`sent again, ${again["no_changes"] ?? 0} of ${sent} entities were unchanged`]
      : []),
    ...(changeSetsAgain ? [`sent again, ${changeSetsAgain} change sets were written`] : []),
    ...countsBroken(figures),
    ...(plan && (plan.applied !== plan.approved || plan.approved + plan.rejected !== plan.changed)
      ? [
          `of ${plan.changed} planned changes ${plan.approved} were approved, ${plan.applied} applied, ${plan.rejected} rejected`,
        ]
      : []),
    ...figures.notAsDecided,
  ];
}

function countsBroken({ expected, found }: InventoryFigures): string[] {
  if (!expected || !found) return [];
  return Object.keys({ ...expected, ...found }).flatMap((type) => {
    const [wanted = 0, got = 0] = [expected[type], found[type]];
    return wanted === got ? [] : [`the inventory holds ${got} ${type}, the files name ${wanted}`];
  });
}
