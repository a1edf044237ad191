import { useEffect, useRef, useState } from "preact/hooks";
import type { HeldOut, LearningView, ModelVersion, Promoted } from "../../api.d.ts";
import { Card } from "../../components/card.tsx";
import { Moment } from "../../components/moment.tsx";
import { usePeriod } from "../../components/period-bar.tsx";
import { Notice } from "../../components/status.tsx";
import { count } from "../../lib/format.ts";
import { useMe } from "../../lib/me.ts";
import { IntervalBar } from "./interval-bar.tsx";
import { intervalRange, plainName } from "./intervals.ts";
import { PromoteDialog } from "./promote-dialog.tsx";

const STATES: Record<ModelVersion["state"], [sign: string, text: string]> = {
  in_force: ["●", "in force"],
  previous: ["↶", "in force before"],
  candidate: ["○", "candidate"],
  older: ["·", "older"],
  prior: ["◆", "prior of the package"],
};

/** All versions that are kept, and putting another one in force. */
export function VersionsCard(props: { view: LearningView; reload: () => void }) {
  const { versions, can_promote: canPromote } = props.view;
  const [chosen, setChosen] = useState<ModelVersion | null>(null);
  const [done, setDone] = useState<Promoted | null>(null);
  const current = versions.find(({ state }) => state === "in_force");
  const held = versions.flatMap(({ held_out }) => held_out);
  return (
    <Card
      title="Models"
      wide
      note="Scores are of rows that a model was not trained on, with their 95 % interval. APGR: how much of the way from the cheap to the dear model's quality is gained, over all shares of dear calls; drawing by lot gains 0.5."
    >
      {done && <Done key={done.id} promoted={done} scores={props.view.in_force !== null} />}
      {versions.length === 0 ? (
        <p class="empty">
          There is no model yet. <code>{props.view.train_command}</code> trains one on the log.
        </p>
      ) : (
        <ul class="versions">
          {versions.map((version) => (
            <Version key={version.id} version={version} all={held}>
              {canPromote && version.state !== "in_force" && (
                <button type="button" onClick={() => setChosen(version)}>
                  {version.state === "previous" ? "Roll back to it" : "Put in force"}
                  <span class="visually-hidden"> model {version.id}</span>
                </button>
              )}
            </Version>
          ))}
        </ul>
      )}
      {!canPromote && versions.length > 1 && (
        <p class="note">
          The model file cannot be changed from here: use <code>bsgateway models promote ID</code> where it
          lies.
        </p>
      )}
      {chosen && (
        <PromoteDialog
          version={chosen}
          current={current}
          strategy={props.view.strategy}
          scores={props.view.in_force !== null}
          close={() => setChosen(null)}
          done={(promoted) => {
            setChosen(null);
            setDone(promoted);
            props.reload();
          }}
        />
      )}
    </Card>
  );
}

/** What has been done. It takes the focus, as the button that was pressed is gone. */
function Done(props: { promoted: Promoted; scores: boolean }) {
  const { id, before } = props.promoted;
  const place = useRef<HTMLParagraphElement>(null);
  useEffect(() => place.current?.focus(), []);
  return (
    <Notice>
      <p ref={place} tabIndex={-1}>
        Model <code>{id}</code> {props.scores ? "scores from now on" : "is in force now"}
        {before && before !== id && (
          <>
            {" "}
            in place of <code>{before}</code>
          </>
        )}
        . Other workers follow within seconds.
        {!props.scores && " No score comes from it while the strategy in force is another."}
      </p>
    </Notice>
  );
}

function Version(props: {
  version: ModelVersion;
  all: readonly HeldOut[];
  children: preact.ComponentChildren;
}) {
  const { version } = props;
  const { zone } = usePeriod();
  const { admin } = useMe();
  const [sign, text] = STATES[version.state];
  return (
    <li class={`version ${version.state}`}>
      <div class="version-head">
        <h3>
          <code>{version.id}</code>
        </h3>
        <span class={version.state === "in_force" ? "badge strong" : "badge"}>
          <span aria-hidden="true">{sign}</span> {text}
        </span>
        <span class="note">
          {version.kind}, {version.rows > 0 ? `${count(version.rows)} rows` : "rows unknown"}
          {isTime(version.created) ? (
            <>
              , made <Moment at={version.created} zone={zone} />
            </>
          ) : (
            version.created && `, made ${version.created}`
          )}
        </span>
        {admin && <span class="version-actions">{props.children}</span>}
      </div>
      {version.held_out.length === 0 ? (
        <p class="note">The file does not say how well it does on rows that it has not seen.</p>
      ) : (
        <HeldOutTable held={version.held_out} all={props.all} id={version.id} />
      )}
      {version.better !== null && (
        <p class="note">
          {version.better
            ? "✓ It was certain to be better than what ran when it was trained."
            : "✕ It was not certain to be better than what ran when it was trained."}
        </p>
      )}
      <LabelLine labels={version.labels} />
    </li>
  );
}

function HeldOutTable(props: { held: readonly HeldOut[]; all: readonly HeldOut[]; id: string }) {
  return (
    <table class="held-out">
      <caption class="visually-hidden">Held-out scores of model {props.id}</caption>
      <thead class="visually-hidden">
        <tr>
          <th scope="col">Score</th>
          <th scope="col">Value</th>
          <th scope="col">95 % interval</th>
          <th scope="col">Plot</th>
        </tr>
      </thead>
      <tbody>
        {props.held.map((each) => (
          <tr key={each.name}>
            <th scope="row">{plainName(each.name)}</th>
            <td class="number">{each.value.toFixed(3)}</td>
            <td class="number faint">
              {each.low === null || each.high === null
                ? "no interval"
                : `${each.low.toFixed(3)} to ${each.high.toFixed(3)}`}
            </td>
            <td class="interval-cell">
              <IntervalBar held={each} range={intervalRange(props.all, each.name)} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function LabelLine(props: { labels: Record<string, number> }) {
  const named = Object.entries(props.labels).filter(([, number]) => number > 0);
  if (named.length === 0) return null;
  return (
    <p class="note">
      Trained on {named.map(([name, number]) => `${count(number)} ${plainName(name)}`).join(", ")}.
    </p>
  );
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(Date.parse(text));
}
