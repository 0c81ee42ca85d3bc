/** PNG files of pictures. The font comes from a package: a machine that runs load tests may have none of its own. */
import { Resvg } from "@resvg/resvg-js";
import type { Picture } from "./chart";

const fontFiles = ["400Regular/Arimo_400Regular.ttf", "700Bold/Arimo_700Bold.ttf"].map((file) =>
  require.resolve(`@expo-google-fonts/arimo/${file}`),
);

/** The picture at twice its size, so that it is sharp on dense displays. */
export function picturePng(picture: Picture): Buffer {
  const resvg = new Resvg(picture.svg, {
    font: { fontFiles, loadSystemFonts: false, defaultFontFamily: "Arimo", sansSerifFamily: "Arimo" },
    fitTo: { mode: "zoom", value: 2 },
  });
  return resvg.render().asPng();
}
