import type { Me } from "../api.d.ts";

/** What runs here, and whose work the pages hold. */
export function Footer(props: { me: Me }) {
  const { me } = props;
  return (
    <footer class="foot">
      <span>
        BSGateway {me.version}, strategy {me.strategy}
      </span>
      {me.docs !== null && <a href={me.docs}>Documentation</a>}
      <a href="assets/LICENSES.txt">Licences of the pages' packages</a>
    </footer>
  );
}
