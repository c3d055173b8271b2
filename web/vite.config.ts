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

/** The page holds these packages, and their licences ask to be told. */
function licences(): Plugin {
  const bundled = new Set<string>()
  return {
    name: 'licences',
    moduleParsed({ id }) {
      const found = /^.*node_modules\/(@[^/]+\/[^/]+|[^/]+)/.exec(id.replace(/^\0/, ''))
      if (found) bundled.add(found[0])
    },
    closeBundle() {
      const told = [...bundled].sort().map((folder) => {
        const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
        const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying)/i.test(file))
        return `${name} ${version} (${license})\n\n${files.map((file) => readFileSync(join(folder, file), 'utf8')).join('\n')}`
      })
      writeFileSync(join(out, 'licences.txt'), told.join(`\n${'-'.repeat(80)}\n`))
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
  plugins: [svelte(), oneFontEach(), licences(), packed()],
  base: '/',
  // Its package names a file for bundlers that it does not bring along.
  resolve: { alias: { '@xterm/headless': '@xterm/headless/lib-headless/xterm-headless.mjs' } },
  build: {
    outDir: out,
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    // Kilobytes. Diagrams are laid out by a large library, which is loaded when the first one comes; a test bounds what is loaded at once.
    chunkSizeWarningLimit: 1_600,
  },
})
