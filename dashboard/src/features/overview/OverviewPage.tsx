import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { queries } from "@/api/queries";
import { Page } from "@/app/Page";
import { WINDOWS, type WindowName } from "@/app/windows";
import tabs from "@/features/transactions/list.module.css";
import { Failed, Loading } from "@/ui/States";
import { Ageing } from "./Ageing";
import { BreakBars } from "./BreakBars";
import { Charts } from "./Charts";
import { HealthLine } from "./HealthLine";
import { NeedsYou } from "./NeedsYou";
import s from "./OverviewPage.module.css";
import { SourcesStrip } from "./SourcesStrip";
import { Stats } from "./Stats";

const route = getRouteApi("/app/");

/** Is it healthy, since when, and what needs me. */
export function OverviewPage() {
  const { window: name = "1h" } = route.useSearch();
  const summary = useQuery(queries.summary(WINDOWS[name].ms));
  return (
    <Page title="Overview" actions={<WindowTabs value={name} />}>
      {summary.isPending && <Loading lines={14} label="Loading the overview" />}
      {summary.isError && !summary.data && (
        <Failed error={summary.error} retry={() => void summary.refetch()} />
      )}
      {summary.data && (
        <>
          <HealthLine
            summary={summary.data}
            heardAt={summary.isPlaceholderData ? null : summary.dataUpdatedAt}
          />
          <Stats summary={summary.data} windowName={name} />
          <div className={s.main}>
            <div className={s.narrow}>
              <NeedsYou />
              <BreakBars breaks={summary.data.breaks} windowMs={WINDOWS[name].ms} />
            </div>
            <div className={s.wide}>
              <Charts window={WINDOWS[name]} />
              <SourcesStrip />
              <Ageing summary={summary.data} />
            </div>
          </div>
        </>
      )}
    </Page>
  );
}

function WindowTabs({ value }: { value: WindowName }) {
  const navigate = useNavigate();
  return (
    <div className={tabs.tabs} role="group" aria-label="Window of time">
      {(Object.keys(WINDOWS) as WindowName[]).map((name) => (
        <button
          key={name}
          type="button"
          className={tabs.tab}
          aria-pressed={name === value}
          onClick={() => void navigate({ to: "/", search: name === "1h" ? {} : { window: name } })}
        >
          {WINDOWS[name].label}
        </button>
      ))}
    </div>
  );
}
