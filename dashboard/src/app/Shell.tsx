import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { Suspense, useEffect, useState } from "react";
import { useMay, useMe } from "@/auth/me";
import { session } from "@/auth/session";
import { cx } from "@/lib/cx";
import { IconButton } from "@/ui/Button";
import { Icon } from "@/ui/Icon";
import { Menu, MenuItem, MenuLine, MenuNote } from "@/ui/Menu";
import { Empty, Loading } from "@/ui/States";
import { FeedState } from "./FeedState";
import { IncidentBar } from "./IncidentBar";
import { SCREENS } from "./nav";
import { Palette } from "./Palette";
import s from "./Shell.module.css";
import { setTheme, useTheme } from "./theme";
import { useGoKeys } from "./useGoKeys";

/** What surrounds every screen: the rail, the bar with the state of the feed, the palette. */
export function Shell() {
  const [paletteOpen, setPaletteOpen] = useState(false);
  const [railOpen, setRailOpen] = useState(false);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const may = useMay();
  useGoKeys(() => setPaletteOpen(true));
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new screen closes the drawer
  useEffect(() => setRailOpen(false), [path]);

  return (
    <div className={s.shell}>
      <a className={s.skip} href="#main">
        Skip to the content
      </a>
      <header className={s.bar}>
        <IconButton
          icon="menu"
          label={railOpen ? "Close the menu" : "Open the menu"}
          className={s.menuButton}
          aria-expanded={railOpen}
          onClick={() => setRailOpen(!railOpen)}
        />
        <Link to="/" className={s.brand}>
          <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
            <path d="M2 4.5h11M2 10h16M2 15.5h16" stroke="currentColor" strokeWidth="2.6" />
            <path d="M15.4 4.5h2.6" stroke="var(--bad-mark)" strokeWidth="2.6" />
          </svg>
          recon
        </Link>
        <button type="button" className={s.search} onClick={() => setPaletteOpen(true)}>
          <Icon name="search" size={14} />
          <span className={s.searchText}>Go to a screen or a transaction</span>
          <kbd className={s.kbd}>Ctrl K</kbd>
        </button>
        <div className={s.right}>
          <FeedState />
          <ThemeButton />
          <UserMenu />
        </div>
      </header>
      <Rail open={railOpen} path={path} />
      {railOpen && (
        <button
          type="button"
          className={s.scrim}
          aria-label="Close the menu"
          onClick={() => setRailOpen(false)}
        />
      )}
      <IncidentBar />
      <main id="main" className={s.main} tabIndex={-1}>
        <Suspense fallback={<Loading lines={10} />}>
          {allowed(path, may) ? (
            <Outlet />
          ) : (
            <Empty title="This screen is not for your role" action={<Link to="/">Overview</Link>}>
              An administrator can see it.
            </Empty>
          )}
        </Suspense>
      </main>
      <Palette open={paletteOpen} onClose={() => setPaletteOpen(false)} />
    </div>
  );
}

/** Whether the role may see the screen that an address belongs to. */
function allowed(path: string, may: ReturnType<typeof useMay>): boolean {
  const screen = SCREENS.find(({ to }) => (to === "/" ? path === "/" : path.startsWith(to)));
  return screen === undefined || may(screen.needs);
}

function Rail({ open, path }: { open: boolean; path: string }) {
  const may = useMay();
  const screens = SCREENS.filter((screen) => may(screen.needs));
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return (
    <nav className={cx(s.rail, open && s.railOpen)} aria-label="Screens">
      {(["Watch", "Work", "Govern"] as const).map((group) => {
        const own = screens.filter((screen) => screen.group === group);
        if (own.length === 0) return null;
        return (
          <div key={group} className={s.group}>
            <p className={s.groupName}>{group}</p>
            <ul>
              {own.map((screen) => {
                const here = screen.to === "/" ? path === "/" : path.startsWith(screen.to);
                return (
                  <li key={screen.to}>
                    <Link
                      to={screen.to}
                      className={cx(s.link, here && s.here)}
                      aria-current={here ? "page" : undefined}
                    >
                      <Icon name={screen.icon} />
                      {screen.label}
                    </Link>
                  </li>
                );
              })}
            </ul>
          </div>
        );
      })}
      <p className={s.zone}>Times in {zone}</p>
    </nav>
  );
}

function ThemeButton() {
  const theme = useTheme();
  const next = theme === "dark" ? "light" : "dark";
  return (
    <IconButton
      icon={theme === "dark" ? "sun" : "moon"}
      label={`Switch to ${next} colours`}
      onClick={() => setTheme(next)}
    />
  );
}

function UserMenu() {
  const me = useMe();
  return (
    <Menu
      end
      trigger={
        <button type="button" className={s.user}>
          <span className={s.initial} aria-hidden="true">
            {me.username.slice(0, 1).toUpperCase()}
          </span>
          <span className="sr">Signed in as </span>
          <span className={s.userName}>{me.username}</span>
        </button>
      }
    >
      <MenuNote>
        {me.name || me.username}
        <br />
        {me.role}
      </MenuNote>
      <MenuLine />
      <MenuItem icon="signOut" onClick={() => void session.signOut()}>
        Sign out everywhere
      </MenuItem>
    </Menu>
  );
}
