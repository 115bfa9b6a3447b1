import type { Revision } from "@/api/types";
import { BreakTags, VerdictMark } from "@/ui/marks";
import { Scroll } from "@/ui/Scroll";
import { At } from "@/ui/Time";
import s from "./TransactionPage.module.css";

/** How the result came to be what it is: the newest first. */
export function Revisions({ revisions }: { revisions: readonly Revision[] }) {
  return (
    <Scroll label="Revisions">
      <table className={s.table}>
        <thead>
          <tr>
            <th scope="col">Revision</th>
            <th scope="col">Verdict</th>
            <th scope="col">Breaks</th>
            <th scope="col">Rules</th>
            <th scope="col">Decided</th>
            <th scope="col">Replaced</th>
          </tr>
        </thead>
        <tbody>
          {revisions.map((revision) => (
            <tr key={revision.revision}>
              <th scope="row">{revision.revision}</th>
              <td>
                <VerdictMark
                  verdict={revision.verdict}
                  late={revision.late_sources.length > 0}
                  final={revision.final}
                />
              </td>
              <td>
                <BreakTags breaks={revision.breaks} missing={revision.missing_sources} />
              </td>
              <td>v{revision.rules_version}</td>
              <td className="nowrap">
                <At at={revision.decided_at} />
              </td>
              <td className="nowrap">
                {revision.replaced_at === null ? "in force" : <At at={revision.replaced_at} />}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
