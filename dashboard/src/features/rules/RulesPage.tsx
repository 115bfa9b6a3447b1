import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { api, take } from "@/api/client";
import { queries } from "@/api/queries";
import type { RuleSet } from "@/api/types";
import { Page } from "@/app/Page";
import { useMe } from "@/auth/me";
import { cx } from "@/lib/cx";
import { Button } from "@/ui/Button";
import { Confirm } from "@/ui/Confirm";
import { Panel } from "@/ui/Panel";
import { Failed, Loading } from "@/ui/States";
import { At } from "@/ui/Time";
import { say, sayFailed } from "@/ui/Toasts";
import { ActivateDialog } from "./ActivateDialog";
import { Backtest } from "./Backtest";
import { DraftForm } from "./DraftForm";
import s from "./RulesPage.module.css";
import { RulesView } from "./RulesView";

const route = getRouteApi("/app/rules");

export default function RulesPage() {
  const { version, draft } = route.useSearch();
  const navigate = useNavigate();
  const found = useQuery(queries.rules());
  const sets = found.data?.items ?? [];
  const inForce = sets.find((set) => set.in_force) ?? sets[0];
  const shown = sets.find((set) => set.version === version) ?? inForce;
  return (
    <Page
      title="Rules"
      lead={inForce && `Version ${inForce.version} judges what arrives now`}
      actions={
        shown &&
        !draft && (
          <Button
            icon="plus"
            kind="primary"
            onClick={() => void navigate({ to: "/rules", search: { version: shown.version, draft: true } })}
          >
            Draft from version {shown.version}
          </Button>
        )
      }
    >
      {found.isPending && <Loading lines={10} label="Loading the rules" />}
      {found.isError && !found.data && <Failed error={found.error} retry={() => void found.refetch()} />}
      {shown && (
        <div className={s.split}>
          <Versions sets={sets} shown={shown} />
          {draft ? (
            <DraftForm
              key={shown.version}
              base={shown}
              onDone={(made) =>
                void navigate({ to: "/rules", search: { version: made?.version ?? shown.version } })
              }
            />
          ) : (
            <Version set={shown} inForce={inForce} leadMs={found.data?.lead_ms ?? 0} />
          )}
        </div>
      )}
    </Page>
  );
}

function stateOf(set: RuleSet): string {
  if (set.in_force) return "in force";
  if (set.state === "active" && set.effective_from !== null && set.effective_from > Date.now())
    return "scheduled";
  return { active: "was in force", draft: "draft", retired: "discarded" }[set.state];
}

function Versions({ sets, shown }: { sets: readonly RuleSet[]; shown: RuleSet }) {
  const navigate = useNavigate();
  return (
    <Panel title="Versions" flush>
      <ul>
        {sets.map((set) => (
          <li key={set.version}>
            <button
              type="button"
              className={cx(s.version, set.version === shown.version && s.current)}
              aria-current={set.version === shown.version || undefined}
              onClick={() => void navigate({ to: "/rules", search: { version: set.version } })}
            >
              <span className={s.versionName}>
                Version {set.version}
                <span className={cx(s.state, set.in_force && s.inForce, set.state === "draft" && s.draft)}>
                  {stateOf(set)}
                </span>
              </span>
              <span className="muted clip">{set.note || "No note"}</span>
              <span className="muted">
                by {set.created_by}, <At at={set.created_at} />
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Version({ set, inForce, leadMs }: { set: RuleSet; inForce: RuleSet | undefined; leadMs: number }) {
  const me = useMe();
  const client = useQueryClient();
  const [activating, setActivating] = useState(false);
  const [discarding, setDiscarding] = useState(false);
  const discard = useMutation({
    mutationFn: () =>
      take(api.POST("/api/v1/rules/{version}/discard", { params: { path: { version: set.version } } })),
    onSuccess: () => {
      say(`Version ${set.version} discarded`);
      setDiscarding(false);
      void client.invalidateQueries({ queryKey: ["rules"] });
    },
    onError: (error) => {
      sayFailed(error);
      setDiscarding(false);
      void client.invalidateQueries({ queryKey: ["rules"] });
    },
  });
  const own = set.created_by === me.username;
  const compareWith = inForce && inForce.version !== set.version ? inForce : undefined;
  return (
    <div className={s.column}>
      <Panel
        title={`Version ${set.version}`}
        aside={
          set.state === "draft" && (
            <>
              <Button small kind="danger" onClick={() => setDiscarding(true)}>
                Discard
              </Button>
              <Button
                small
                kind="primary"
                disabled={own}
                title={own ? "You drafted it: somebody else must activate it" : undefined}
                onClick={() => setActivating(true)}
              >
                Activate
              </Button>
            </>
          )
        }
      >
        {set.state === "draft" && own && (
          <p className={s.hint}>You drafted this version: another administrator must activate it.</p>
        )}
        <RulesView set={set} compareWith={compareWith} />
      </Panel>
      {set.state === "draft" && <Backtest key={set.version} version={set.version} />}
      <Confirm
        open={discarding}
        onClose={() => setDiscarding(false)}
        onConfirm={() => discard.mutate()}
        busy={discard.isPending}
        title={`Discard version ${set.version}?`}
        action="Discard"
      >
        It stays on record and can never be activated. To use its rules after all, draft from it.
      </Confirm>
      <ActivateDialog set={set} leadMs={leadMs} open={activating} onClose={() => setActivating(false)} />
    </div>
  );
}
