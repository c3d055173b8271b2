import { svelte } from '@sveltejs/vite-plugin-svelte'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'

const out = '../src/headrace/web/built'

/** Every browser that we serve reads woff2: the other forms of the same fonts are left out. */
function oneFontEach(): Plugin {
  return {
    name: 'one-font-each',
    generateBundle(_, bundle) {
      for (const [name, file] of Object.entries(bundle)) {
        if (/\.(woff|ttf)$/.test(name)) delete bundle[name]
        else if (file.type === 'asset' && name.endsWith('.css')) {
          file.source = String(file.source).replace(/,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\([^)]*\)/g, '')
        }
      }
    },
  }
}

/** Beside each file the same as gzip makes it, so that no server does it again for each visitor. */
function packed(): Plugin {
  return {
    name: 'packed',
    closeBundle() {
      for (const folder of [out, join(out, 'assets')]) {
        for (const name of readdirSync(folder)) {
          if (/\.(js|css|html|svg)$/.test(name)) {
            writeFileSync(join(folder, `${name}.gz`), gzipSync(readFileSync(join(folder, name)), { level: 9 }))
          }
        }
      }
    },
  }
}

export default defineConfig({
  plugins: [svelte(), oneFontEach(), packed()],
  base: '/',
  build: {
    outDir: out,
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
})
