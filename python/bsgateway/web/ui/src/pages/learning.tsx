import type { LearningView } from "../api.d.ts";
import { Card } from "../components/card.tsx";
import { CopyButton } from "../components/copy-button.tsx";
import { Await, Notice } from "../components/status.tsx";
import { useApi } from "../lib/api.ts";
import { useMe } from "../lib/me.ts";
import { PageTitle } from "../shell/page-title.tsx";
import { CurveCard } from "./learning/curve.tsx";
import { LabelsCard } from "./learning/labels.tsx";
import { VersionsCard } from "./learning/versions.tsx";

/** What there is to learn from, which models there are, and which one scores. */
export function Learning() {
  const { admin } = useMe();
  const loaded = useApi<LearningView>(admin ? "api/learning" : null, "Learning", { live: false });
  return (
    <>
      <PageTitle
        title="Learning"
        lead="What the log says about good and bad answers, and the models that were trained on it."
      />
      {admin ? (
        <Await of={loaded} name="learning">
          {(view) => <Parts view={view} reload={loaded.reload} />}
        </Await>
      ) : (
        <Notice>Only an admin's key may see this page.</Notice>
      )}
    </>
  );
}

function Parts(props: { view: LearningView; reload: () => void }) {
  const { view } = props;
  return (
    <>
      <Scores view={view} />
      <LabelsCard view={view} />
      <VersionsCard view={view} reload={props.reload} />
      <CurveCard versions={view.versions} />
      <Card
        title="Train"
        note="Reads the log, trains a model and puts it in force only if it is certain to be better."
      >
        <p class="command">
          <code>{view.train_command}</code> <CopyButton text={() => view.train_command} what="command" />
        </p>
        <p class="note">
          It runs where the gateway's state directory is; <code>--dry-run</code> only says what would become
          of it. A model that is not certain to be better waits here as a candidate.
        </p>
      </Card>
    </>
  );
}

/** Which model scores requests now, or that none does. */
function Scores(props: { view: LearningView }) {
  const { strategy, in_force, versions } = props.view;
  if (in_force === null) {
    return (
      <Notice>
        The strategy in force is <code>{strategy}</code>, which uses no learned model. To let one score, set{" "}
        <code>routing.classifier.strategy: ml</code>, and the tiers' ranges by{" "}
        <code>bsgateway calibrate</code>.
      </Notice>
    );
  }
  const isPrior = versions.some(({ id, kind }) => id === in_force && kind === "prior");
  return (
    <Notice>
      Model <code>{in_force}</code> scores the requests (strategy <code>{strategy}</code>)
      {isPrior ? ": the prior that comes with the package, made from other people's questions." : "."}
    </Notice>
  );
}
